"""The kernel kills rank 1 for want of memory; rank 0 loses the connection."""

import os
import signal

import torch
import torch.distributed as dist

dist.init_process_group("gloo")
if dist.get_rank() == 1:
    os.kill(os.getpid(), signal.SIGKILL)
dist.all_reduce(torch.ones(2))
