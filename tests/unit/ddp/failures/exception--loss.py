"""The loss is not a number in one rank, and the script asserts that it is."""

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

dist.init_process_group("gloo")
model = DistributedDataParallel(nn.Linear(2, 2))
for step in range(3):
    loss = model(torch.full((4, 2), float("nan") if dist.get_rank() and step else 1.0)).sum()
    assert torch.isfinite(loss)
    loss.backward()
