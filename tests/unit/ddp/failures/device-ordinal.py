"""More processes than GPUs: the last names a GPU that is not there. Needs a card."""

import os

import torch
import torch.distributed as dist

dist.init_process_group("gloo")
torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
dist.all_reduce(torch.ones(2))
