"""DataLoader workers, and a progress bar without line ends."""

import sys

import torch
import torch.distributed as dist
from torch.utils.data import DataLoader

dist.init_process_group("gloo")
for step, batch in enumerate(DataLoader(torch.arange(64.0), batch_size=8, num_workers=2)):
    dist.all_reduce(batch)
    sys.stderr.write(f"\r{step + 1}/8 it/s")
    sys.stderr.flush()
dist.destroy_process_group()
