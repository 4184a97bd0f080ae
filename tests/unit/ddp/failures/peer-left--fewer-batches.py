"""One rank has fewer batches than the other, and leaves the loop in peace."""

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader

dist.init_process_group("gloo")
model = DistributedDataParallel(nn.Linear(1, 1))
for batch in DataLoader(torch.ones(5 + dist.get_rank(), 1), batch_size=1):
    model(batch).sum().backward()
dist.destroy_process_group()
