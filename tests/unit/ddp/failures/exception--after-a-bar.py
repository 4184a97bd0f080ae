"""The traceback begins behind a progress bar, in its line."""

import sys

import torch
import torch.distributed as dist

dist.init_process_group("gloo")
for step in range(30):
    sys.stderr.write(f"\r{step + 1:3}%|####      | {step}/30 [00:00<00:02, 9.9it/s]")
    sys.stderr.flush()
    if step == 20 and dist.get_rank() == 1:
        raise IndexError("index 20 is out of bounds for dimension 0 with size 20")
    dist.all_reduce(torch.ones(2))
