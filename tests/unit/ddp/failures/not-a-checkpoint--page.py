"""A web page that was downloaded in place of the checkpoint, loaded with all that it may hold."""

import os
import tempfile

import torch

with tempfile.TemporaryDirectory() as folder:
    path = os.path.join(folder, "model.pt")
    with open(path, "w") as file:
        file.write("<!DOCTYPE html><html><body>Not found</body></html>")
    torch.load(path, weights_only=False)
