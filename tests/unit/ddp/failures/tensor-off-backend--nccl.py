"""NCCL is to send a tensor of the CPU. Needs a card."""

import torch
import torch.distributed as dist

dist.init_process_group("nccl")
dist.all_reduce(torch.ones(2))
