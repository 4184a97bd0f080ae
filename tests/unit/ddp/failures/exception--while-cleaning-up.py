"""Rank 1 fails, and then fails again when it tells the others."""

import os

import torch
import torch.distributed as dist

dist.init_process_group("gloo")
try:
    if dist.get_rank() == 1:
        raise LookupError("label 12 of 10")
    dist.all_reduce(torch.ones(2))
    os._exit(0)
except LookupError:
    raise RuntimeError("Connection closed by peer")  # noqa: B904
