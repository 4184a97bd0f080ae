from __future__ import annotations

import torch
import torch.nn as nn
import torch.optim as optim
from torch.utils.data import DataLoader, TensorDataset


def get_loaders():
    data = TensorDataset(torch.randn(64, 5), torch.randint(0, 3, (64,)))
    return DataLoader(data, batch_size=8, shuffle=True), DataLoader(data)


def train(model, loader, optimizer, device):
    model.train()
    for xb, yb in loader:
        xb, yb = xb.to(device), yb.to(device)
        loss = nn.functional.cross_entropy(model(xb), yb)
        optimizer.zero_grad(); loss.backward(); optimizer.step()
    return loss.item()


def save(model, path):
    torch.save(model.state_dict(), path)


def main() -> None:
    device = torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
    train_loader, test_loader = get_loaders()
    model = nn.Linear(5, 3)
    model.to(device)
    optimizer = optim.SGD(filter(lambda p: p.requires_grad, model.parameters()), lr=0.1)
    scheduler = optim.lr_scheduler.StepLR(optimizer, 1)
    for epoch in range(2):
        print('loss', train(model, train_loader, optimizer, device))
        scheduler.step()
    save(model, "x.pt")
    print(model.out_features)

main()
