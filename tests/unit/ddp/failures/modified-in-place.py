"""Two forward passes before one backward pass, with batch norm: DDP writes over its buffers."""

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

dist.init_process_group("gloo")
model = DistributedDataParallel(nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)))
real, made = torch.rand(3, 4), torch.rand(3, 4)
model(real).sum().sub(model(made).sum()).backward()
