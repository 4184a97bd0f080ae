"""Rank 1 meets bad data; rank 0 waits for it and loses the connection."""

import torch
import torch.distributed as dist

dist.init_process_group("gloo")
if dist.get_rank() == 1:
    raise ValueError("batch 7 is bad: naïve ✓")
dist.all_reduce(torch.ones(2))
