"""All work is done, and one rank dies as Python shuts down.

For real it is seldom: a thread of gloo lets go of a tensor just then, cannot get the interpreter's
lock, and libstdc++ says so. Here its words and its signal come by hand.
"""

import os

import torch
import torch.distributed as dist

dist.init_process_group("gloo")
rank = dist.get_rank()
total = torch.ones(2)
dist.all_reduce(total)
print(f"rank {rank}: {total.sum().item()}", flush=True)
dist.destroy_process_group()
if rank == 1:
    os.write(2, b"terminate called without an active exception\n")
    os.abort()
