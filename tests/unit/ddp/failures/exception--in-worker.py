"""A data set fails in a DataLoader's worker, in one rank."""

import torch
import torch.distributed as dist
from torch.utils.data import DataLoader, Dataset


class Images(Dataset):
    def __len__(self):
        return 8

    def __getitem__(self, index):
        if dist_rank == 1 and index == 5:
            raise ValueError("image 5 is not an image")
        return torch.ones(2)


dist.init_process_group("gloo")
dist_rank = dist.get_rank()
for batch in DataLoader(Images(), batch_size=2, num_workers=2):
    dist.all_reduce(batch)
