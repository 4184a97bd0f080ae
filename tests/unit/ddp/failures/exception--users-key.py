"""A dictionary of the script lacks a key that is called as one of torchrun's variables."""

import torch
import torch.distributed as dist

dist.init_process_group("gloo")
if dist.get_rank() == 1:
    print({"WORLD": 2}["RANK"])
dist.all_reduce(torch.ones(2))
