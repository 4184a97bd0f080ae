"""More memory than the GPU has. Needs a card that is full."""

import torch
import torch.distributed as dist

dist.init_process_group("gloo")
if dist.get_rank() == 1:
    torch.empty(2**30, device="cuda")
dist.all_reduce(torch.ones(2))
