"""One rank leaves early with a code of its own, after a hint."""

import sys

import torch
import torch.distributed as dist

dist.init_process_group("gloo")
for step in range(3):
    if dist.get_rank() == 1 and step == 1:
        print("no samples left for this rank", flush=True)
        sys.exit(3)
    dist.all_reduce(torch.ones(2))
