"""DDP is told a GPU for a model that is on the CPU."""

import os

import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

dist.init_process_group("gloo")
DistributedDataParallel(nn.Linear(2, 2), device_ids=[int(os.environ["LOCAL_RANK"])])
