"""DDP looks for unused parameters, and there are none: PyTorch warns."""

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

dist.init_process_group("gloo")
model = DistributedDataParallel(torch.nn.Linear(2, 1), find_unused_parameters=True)
for _ in range(3):
    model(torch.ones(4, 2)).sum().backward()
dist.destroy_process_group()
