"""sys.exit() with a sentence."""

import sys

import torch
import torch.distributed as dist

dist.init_process_group("gloo")
if dist.get_rank() == 1:
    sys.exit("config.yaml has no entry 'classes'")
dist.all_reduce(torch.ones(2))
