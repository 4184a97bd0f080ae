"""Part of the model is on the GPU, part of it is not. Needs a card."""

import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

dist.init_process_group("gloo")
DistributedDataParallel(nn.Sequential(nn.Linear(4, 2).to("cuda"), nn.Linear(2, 2)))
