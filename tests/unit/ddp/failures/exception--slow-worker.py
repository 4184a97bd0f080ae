"""A DataLoader's worker takes longer than it may, in one rank."""

import time

import torch
import torch.distributed as dist
from torch.utils.data import DataLoader, Dataset


class Images(Dataset):
    def __len__(self):
        return 2

    def __getitem__(self, index):
        time.sleep(30)


dist.init_process_group("gloo")
if dist.get_rank() == 1:
    next(iter(DataLoader(Images(), num_workers=1, timeout=2)))
dist.all_reduce(torch.ones(2))
