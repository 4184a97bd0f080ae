"""The kernel kills a DataLoader's worker for want of memory."""

import os
import signal
import time

import torch
import torch.distributed as dist
from torch.utils.data import DataLoader, Dataset


class Images(Dataset):
    def __len__(self):
        return 8

    def __getitem__(self, index):
        if index == 5:
            time.sleep(1)  # the rank has what it asked for before, and waits
            os.kill(os.getpid(), signal.SIGKILL)
        return torch.ones(2)


dist.init_process_group("gloo")
if dist.get_rank() == 1:
    for _ in DataLoader(Images(), num_workers=2):
        pass
dist.all_reduce(torch.ones(2))
