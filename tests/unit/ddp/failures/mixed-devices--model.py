"""The model is on the GPU, the batch is not. Needs a card."""

import torch
import torch.distributed as dist
from torch import nn

dist.init_process_group("gloo")
model = nn.Sequential(nn.Linear(4, 2)).to("cuda")
model(torch.ones(3, 4))
