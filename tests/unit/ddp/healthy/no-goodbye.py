"""Forgets destroy_process_group(): a warning, no failure."""

import torch
import torch.distributed as dist

dist.init_process_group("gloo")
dist.all_reduce(torch.ones(2))
