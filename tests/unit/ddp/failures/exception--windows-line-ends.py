"""Written on Windows."""

import torch
import torch.distributed as dist

dist.init_process_group("gloo")
if dist.get_rank() == 1:
    raise ValueError("first line\r\nsecond line")
dist.all_reduce(torch.ones(2))
