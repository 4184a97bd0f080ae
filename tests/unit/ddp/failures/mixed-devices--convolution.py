"""The model is on the CPU, the batch of images is on the GPU. Needs a card."""

import torch
import torch.distributed as dist
from torch import nn

dist.init_process_group("gloo")
nn.Conv2d(3, 4, 3)(torch.empty(1, 3, 8, 8, device="cuda"))
