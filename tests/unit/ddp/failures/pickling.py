"""A lambda for spawned workers."""

import torch
from torch.utils.data import DataLoader

if __name__ == "__main__":
    loader = DataLoader(
        torch.arange(8), num_workers=1, multiprocessing_context="spawn", collate_fn=lambda x: x
    )
    next(iter(loader))
