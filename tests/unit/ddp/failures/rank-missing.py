"""Rank 1 ends, content, before it has joined."""

import os
from datetime import timedelta

import torch.distributed as dist

if os.environ["RANK"] == "0":
    dist.init_process_group("gloo", timeout=timedelta(seconds=5))
