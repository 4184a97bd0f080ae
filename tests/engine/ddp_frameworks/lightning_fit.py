"""PyTorch Lightning, as its guide has it: nothing in it knows who starts it."""

import argparse

import lightning as L
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Classifier(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 2))

    def training_step(self, batch, index):
        inputs, labels = batch
        loss = nn.functional.cross_entropy(self.layers(inputs), labels)
        self.log("train_loss", loss, prog_bar=True, sync_dist=True)
        return loss

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=1e-2)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--devices", default="auto")
    parser.add_argument("--fail", action="store_true")
    options = parser.parse_args()
    devices = options.devices if options.devices == "auto" else int(options.devices)
    L.seed_everything(1)
    inputs = torch.randn(256, 8)
    labels = (inputs.sum(1) > 0).long()
    if options.fail:
        labels[200] = 7
    model = Classifier()
    trainer = L.Trainer(
        accelerator="auto", devices=devices, strategy="ddp", max_epochs=2, log_every_n_steps=2
    )
    trainer.fit(model, DataLoader(TensorDataset(inputs, labels), batch_size=16, shuffle=True))
    if trainer.is_global_zero:
        print(f"world={trainer.world_size} loss={trainer.callback_metrics['train_loss']:.4f}")


if __name__ == "__main__":
    main()
