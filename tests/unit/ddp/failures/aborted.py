"""Rank 0 aborts, as the NCCL watchdog does."""

import os

import torch
import torch.distributed as dist

dist.init_process_group("gloo")
if dist.get_rank() == 0:
    os.abort()
dist.all_reduce(torch.ones(2))
