"""A checkpoint that was saved from a GPU, loaded where there is none."""

import os
import tempfile

import torch
import torch.distributed as dist

# what torch.save writes beside a tensor of the GPU
torch.serialization.register_package(0, lambda storage: "cuda:0", lambda storage, location: None)
dist.init_process_group("gloo")
with tempfile.TemporaryDirectory() as folder:
    path = os.path.join(folder, "model.pt")
    torch.save(torch.ones(2), path)
    torch.load(path)
