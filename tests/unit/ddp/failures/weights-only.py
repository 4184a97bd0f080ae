"""A checkpoint with an object of the script's own, loaded as torch loads by default."""

import os
import tempfile

import torch


class Config:
    classes = 10


with tempfile.TemporaryDirectory() as folder:
    path = os.path.join(folder, "model.pt")
    torch.save({"weight": torch.ones(2), "config": Config()}, path)
    torch.load(path)
