"""The ranks reduce tensors of different sizes: the last batch of one is smaller."""

import torch
import torch.distributed as dist

dist.init_process_group("gloo")
dist.all_reduce(torch.ones(1000 if dist.get_rank() == 0 else 7))
