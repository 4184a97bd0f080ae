"""A file that is not a checkpoint, but what Git LFS puts in its place."""

import os
import tempfile

import torch

with tempfile.TemporaryDirectory() as folder:
    path = os.path.join(folder, "model.pt")
    with open(path, "w") as file:
        file.write("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n")
    torch.load(path)
