"""More memory than there is, asked for in one piece."""

import torch
import torch.distributed as dist

dist.init_process_group("gloo")
if dist.get_rank() == 1:
    torch.ones(2**50)
dist.all_reduce(torch.ones(2))
