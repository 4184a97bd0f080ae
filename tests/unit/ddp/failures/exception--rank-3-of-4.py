"""Only the last of four ranks fails, while the others wait in a collective."""

import torch
import torch.distributed as dist

dist.init_process_group("gloo")
if dist.get_rank() == 3:
    raise ValueError("shard 3 has no samples")
dist.all_reduce(torch.ones(2))
