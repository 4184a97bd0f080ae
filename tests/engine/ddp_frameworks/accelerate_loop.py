"""Hugging Face Accelerate, without a configuration file."""

import sys

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

set_seed(1)
accelerator = Accelerator()
inputs = torch.randn(256, 8)
labels = (inputs.sum(1) > 0).long()
model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 2))
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
loader = DataLoader(TensorDataset(inputs, labels), batch_size=16, shuffle=True)
model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
for epoch in range(2):
    for batch, target in loader:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(batch), target)
        accelerator.backward(loss)
        optimizer.step()
    mean = accelerator.gather(loss.detach().reshape(1)).mean().item()
    accelerator.print(f"epoch={epoch} loss={mean:.4f}")
if "--fail" in sys.argv and not accelerator.is_main_process:
    raise ValueError("the validation set is empty")
accelerator.wait_for_everyone()
accelerator.save_model(model, "accelerated")
accelerator.print(f"world={accelerator.num_processes}")
accelerator.end_training()
