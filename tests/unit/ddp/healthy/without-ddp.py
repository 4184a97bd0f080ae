"""Two processes that know nothing of each other."""

print("loss=0.1")
