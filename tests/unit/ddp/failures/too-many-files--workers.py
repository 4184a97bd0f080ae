"""Each tensor that a DataLoader's worker sends, and that is kept, is an open file."""

import resource

import torch
import torch.distributed as dist
from torch.utils.data import DataLoader

dist.init_process_group("gloo")
if dist.get_rank() == 1:
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    kept = list(DataLoader(torch.arange(200), num_workers=1))
dist.all_reduce(torch.ones(2))
