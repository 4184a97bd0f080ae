#!/usr/bin/env python
"""Trainer class."""
import argparse, os
import torch as th, torch
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset


class Data(Dataset):
    def __len__(self): return 100
    def __getitem__(self, i): return th.full((3,), float(i)) / 100, i % 2


class Trainer:
    def __init__(self, model, args):
        self.model = model
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=args.lr)
        self.loader = DataLoader(Data(), args.batch, shuffle=args.shuffle)

    def train_one(self, epoch):
        for x, y in self.loader:
            loss = F.cross_entropy(self.model(x), y)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
        print(f"epoch={epoch} loss={loss:.3f}")

    def fit(self, epochs):
        for epoch in range(epochs):
            self.train_one(epoch)
            if epoch % 2 == 0:
                torch.save(self.model.state_dict(), 'm.pt')


def main():
    p = argparse.ArgumentParser()
    p.add_argument('--lr', type=float, default=1e-2)
    p.add_argument('--batch', type=int, default=10)
    p.add_argument('--shuffle', type=bool, default=True)
    args = p.parse_args()
    Trainer(torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2)), args).fit(2)


if __name__ == '__main__':
    main()
