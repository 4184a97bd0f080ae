"""A kernel of the GPU reads memory that is not its own. Needs a card whose kernels fail so."""

import torch
import torch.distributed as dist

dist.init_process_group("gloo")
if dist.get_rank() == 1:
    torch.ones(2, device="cuda").mul_(2)
dist.all_reduce(torch.ones(2))
