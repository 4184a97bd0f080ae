"""The line of code and the message speak of known causes, and neither is one."""

import torch
import torch.distributed as dist

dist.init_process_group("gloo")
print("retrying: No space left on device, Duplicate GPU detected; train: error: none", flush=True)
if dist.get_rank() == 1:
    assert dist.get_world_size() == 3, "no CUDA out of memory here"  # device-side assert triggered
dist.all_reduce(torch.ones(2))
