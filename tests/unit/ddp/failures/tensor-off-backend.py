"""The process group has a backend for the GPU only, and the tensor is on the CPU."""

import torch
import torch.distributed as dist

dist.init_process_group("cuda:gloo")
dist.all_reduce(torch.ones(2))
