"""A data set whose workers cache in shared memory until it is full; for a small /dev/shm."""

import os
from multiprocessing.shared_memory import SharedMemory

import torch
import torch.distributed as dist
from torch.utils.data import DataLoader, Dataset


class Cached(Dataset):
    def __len__(self):
        return 4

    def __getitem__(self, index):
        shm = os.statvfs("/dev/shm")  # noqa: S108
        cache = SharedMemory(create=True, size=shm.f_bavail * shm.f_frsize + 2**20)
        cache.unlink()  # nothing is left behind
        cache.buf[:] = bytes(cache.size)
        return torch.ones(2)


dist.init_process_group("gloo")
if dist.get_rank() == 1:
    for _ in DataLoader(Cached(), num_workers=1):
        pass
dist.all_reduce(torch.ones(2))
