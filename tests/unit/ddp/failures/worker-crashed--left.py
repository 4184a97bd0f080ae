"""A DataLoader's worker leaves with a code, as a library's exit() does."""

import os

import torch
import torch.distributed as dist
from torch.utils.data import DataLoader, Dataset


class Images(Dataset):
    def __len__(self):
        return 8

    def __getitem__(self, index):
        if index == 0:
            os._exit(7)
        return torch.ones(2)


dist.init_process_group("gloo")
if dist.get_rank() == 1:
    for _ in DataLoader(Images(), num_workers=2):
        pass
dist.all_reduce(torch.ones(2))
