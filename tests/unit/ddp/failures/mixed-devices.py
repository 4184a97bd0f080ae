"""The model's weights are on another device than the batch; without a GPU it is "meta"."""

import torch
import torch.distributed as dist
from torch import nn

dist.init_process_group("gloo")
model = nn.Linear(4, 2, device="meta")
torch.ones(3, 2) + model(torch.ones(3, 4, device="meta"))
