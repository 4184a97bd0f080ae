"""A checkpoint that holds the model's weights below a key, loaded as if it were they."""

import torch.distributed as dist
from torch import nn

dist.init_process_group("gloo")
model = nn.Linear(4, 2)
model.load_state_dict({"epoch": 3, "model": model.state_dict()})
