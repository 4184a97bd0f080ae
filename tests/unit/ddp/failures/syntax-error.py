"""A bracket too few."""

print("epoch 1"
