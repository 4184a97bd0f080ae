"""A checkpoint that is not whole."""

import os
import tempfile

import torch

with tempfile.TemporaryDirectory() as folder:
    path = os.path.join(folder, "model.pt")
    torch.save({"weight": torch.ones(1000)}, path)
    os.truncate(path, 2000)
    torch.load(path)
