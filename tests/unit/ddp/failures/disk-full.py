"""A checkpoint on a device that is full."""

with open("/dev/full", "wb") as file:
    file.write(b"0" * 100000)
