"""A checkpoint for a folder that nobody made."""

import torch
import torch.distributed as dist

dist.init_process_group("gloo")
if dist.get_rank() == 0:
    torch.save({"weight": torch.ones(2)}, "checkpoints/last/model.pt")
dist.all_reduce(torch.ones(2))
