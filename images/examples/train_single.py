"""Train a small network on one GPU, or on the CPU where there is none.

    python train_single.py

It makes its own data: points on three interleaved spirals, to be told apart by a classifier.
Takes a few seconds. The seed is fixed, so that you and everyone else get the same result.
"""

import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def make_spirals(points, seed):
    """Points on three spiral arms, with some noise, and the number of each point's arm."""
    generator = torch.Generator().manual_seed(seed)
    label = torch.randint(0, 3, (points,), generator=generator)
    radius = torch.rand(points, generator=generator)
    angle = 4 * radius + label * 2.0944 + 0.15 * torch.randn(points, generator=generator)
    return torch.stack([radius * angle.cos(), radius * angle.sin()], dim=1), label


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    # 1. The same seed gives the same weights, the same order of the data, the same result.
    torch.manual_seed(options.seed)

    # 2. A GPU if PyTorch can use one. If you were promised one and this says CPU, open the
    #    launcher in JupyterLab and click "GPU doctor".
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.type == "cuda":
        print(f"running on {torch.cuda.get_device_name(device)}")
    else:
        print("running on the CPU")
        torch.set_num_threads(1)  # a network this small gains nothing from more

    # 3. Data. A DataLoader shuffles it anew each epoch and hands it out in batches.
    train = TensorDataset(*make_spirals(6000, seed=options.seed))
    test_points, test_labels = (t.to(device) for t in make_spirals(2000, seed=options.seed + 1))
    loader = DataLoader(train, batch_size=128, shuffle=True)

    # 4. Model, optimizer, loss. The model moves to the device once ...
    model = nn.Sequential(
        nn.Linear(2, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 3)
    )
    model.to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    loss_function = nn.CrossEntropyLoss()

    for epoch in range(options.epochs):
        total = 0.0
        for points, labels in loader:
            # ... and each batch when it is used.
            points, labels = points.to(device), labels.to(device)
            loss = loss_function(model(points), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(points)
        print(f"epoch={epoch + 1} loss={total / len(train):.4f}")

    # 5. How good is it on points it has never seen?
    model.eval()
    with torch.no_grad():
        correct = (model(test_points).argmax(dim=1) == test_labels).sum().item()
    print(f"result: loss={total / len(train):.4f} accuracy={correct / len(test_labels):.4f}")


if __name__ == "__main__":
    main()
