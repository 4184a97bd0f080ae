"""Rank 1 ends as by an instruction that the CPU does not have."""

import os
import signal

import torch
import torch.distributed as dist

dist.init_process_group("gloo")
if dist.get_rank() == 1:
    os.kill(os.getpid(), signal.SIGILL)
dist.all_reduce(torch.ones(2))
