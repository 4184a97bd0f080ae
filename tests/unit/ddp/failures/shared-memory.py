"""A batch of more bytes than /dev/shm has room for, from a DataLoader's worker."""

import os

import torch
import torch.distributed as dist
from torch.utils.data import DataLoader, Dataset

shm = os.statvfs("/dev/shm")  # noqa: S108
BYTES = shm.f_bavail * shm.f_frsize


class Volumes(Dataset):
    def __len__(self):
        return 4

    def __getitem__(self, index):
        return torch.empty(BYTES, dtype=torch.uint8)  # never touched: it takes no memory


dist.init_process_group("gloo")
if dist.get_rank() == 1:
    for _ in DataLoader(Volumes(), batch_size=2, num_workers=1):
        pass
dist.all_reduce(torch.ones(2))
