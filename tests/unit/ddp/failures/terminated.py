"""Somebody asks one rank to end."""

import os
import signal
import time

import torch.distributed as dist

dist.init_process_group("gloo")
if dist.get_rank() == 1:
    os.kill(os.getpid(), signal.SIGTERM)
time.sleep(30)
