"""A method of the model is asked of DDP's wrapper."""

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel


class Translator(nn.Linear):
    def translate(self, batch):
        return self(batch)


dist.init_process_group("gloo")
model = DistributedDataParallel(Translator(2, 2))
model.translate(torch.ones(1, 2))
