"""The optimizer's state of another model."""

import torch
from torch import nn

saved = torch.optim.Adam(nn.Linear(4, 2).parameters()).state_dict()
torch.optim.Adam(nn.Sequential(nn.Linear(4, 2), nn.Linear(2, 2)).parameters()).load_state_dict(
    saved
)
