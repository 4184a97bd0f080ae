"""Rank 1 has fewer batches, and leaves while rank 0 still waits."""

import torch
import torch.distributed as dist

dist.init_process_group("gloo")
for _ in range(3 - dist.get_rank()):
    dist.all_reduce(torch.ones(2))
dist.destroy_process_group()  # else the interpreter's end may abort rank 1 first
