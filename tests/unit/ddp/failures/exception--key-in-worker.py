"""A record of a data set lacks a field, in a worker of one rank."""

import torch
import torch.distributed as dist
from torch.utils.data import DataLoader, Dataset


class Records(Dataset):
    records = [{"image": torch.ones(2), "label": 1}, {"image": torch.ones(2)}]

    def __len__(self):
        return len(self.records)

    def __getitem__(self, index):
        return self.records[index]["image"], self.records[index]["label"]


dist.init_process_group("gloo")
if dist.get_rank() == 1:
    for _ in DataLoader(Records(), num_workers=2, persistent_workers=True):
        pass
dist.all_reduce(torch.ones(2))
