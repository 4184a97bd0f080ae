"""CUDA on a machine without a GPU."""

import torch

torch.ones(2).cuda()
