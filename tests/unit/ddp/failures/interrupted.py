"""A rank gets what Ctrl+C sends."""

import os
import signal
import time

import torch
import torch.distributed as dist

dist.init_process_group("gloo")
if dist.get_rank() == 1:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(5)
dist.all_reduce(torch.ones(2))
