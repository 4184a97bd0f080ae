"""NCCL does not come to terms with the GPU. Needs a card, and one that NCCL cannot use."""

import torch
import torch.distributed as dist

dist.init_process_group("nccl")
dist.all_reduce(torch.empty(2, device="cuda"))
