"""A data set puts its samples on the GPU, in a forked worker. Needs a card."""

import torch
import torch.distributed as dist
from torch.utils.data import DataLoader, Dataset


class Images(Dataset):
    def __len__(self):
        return 4

    def __getitem__(self, index):
        return torch.ones(2).cuda()


dist.init_process_group("gloo")
if dist.get_rank() == 1:
    weights = torch.empty(2, device="cuda")
    for _ in DataLoader(Images(), num_workers=1):
        pass
dist.all_reduce(torch.ones(2))
