"""A result that is written beside the home, where a participant may not."""

import os

import torch
import torch.distributed as dist

dist.init_process_group("gloo")
if dist.get_rank() == 0:
    os.makedirs("/results/first", exist_ok=True)
dist.all_reduce(torch.ones(2))
