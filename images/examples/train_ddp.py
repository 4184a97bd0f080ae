"""The same training as train_single.py, on several processes: one for each GPU.

In JupyterLab: right-click this file, "Launch DDP". In a terminal:

    torchrun --standalone --local-addr 127.0.0.1 --nproc-per-node 2 train_ddp.py

torchrun starts the script once for each process. Every process has the whole model and a part of
the data; after each backward pass DistributedDataParallel averages the gradients over all of
them, so that the models stay equal. Look for the comments with a number: these steps are what
makes a script a DDP script.

Without a GPU it runs on the CPU, with the backend gloo in the place of NCCL.
"""

import argparse
import os
import time

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.data.distributed import DistributedSampler


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
    parser.add_argument("--checkpoint", default="train_ddp.pt")
    options = parser.parse_args()

    # (1) Join the others. torchrun has set RANK, WORLD_SIZE and the address to meet at.
    #     LOCAL_RANK is this process's number on this machine: it tells which GPU is its own.
    if torch.cuda.is_available():
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
        dist.init_process_group("nccl", device_id=device)
        where = torch.cuda.get_device_name(device)
    else:
        device = torch.device("cpu")
        dist.init_process_group("gloo")
        where = "the CPU"
    rank, processes = dist.get_rank(), dist.get_world_size()
    print(f"rank {rank} of {processes} running on {where}")

    # (2) The same seed everywhere: all ranks build the same model and shuffle the same way.
    torch.manual_seed(options.seed)

    # (3) The sampler gives each rank its own part of the data. The batch of all ranks together
    #     stays 128, as in train_single.py.
    train = TensorDataset(*make_spirals(6000, seed=options.seed))
    sampler = DistributedSampler(train, seed=options.seed)
    loader = DataLoader(train, batch_size=max(1, 128 // processes), sampler=sampler)

    # (4) Wrap the model. From here on, backward() also averages the gradients over all ranks.
    model = nn.Sequential(
        nn.Linear(2, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 3)
    )
    model = DistributedDataParallel(model.to(device))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    loss_function = nn.CrossEntropyLoss()

    for epoch in range(options.epochs):
        # (5) Without this line every epoch would see the data in the same order.
        sampler.set_epoch(epoch)
        total = torch.zeros(2, device=device)  # the sum of losses, the number of points
        for points, labels in loader:
            points, labels = points.to(device), labels.to(device)
            loss = loss_function(model(points), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += torch.tensor([loss.item() * len(points), len(points)], device=device)

        # (6) Each rank knows only its part; all_reduce adds the parts up. Every rank must call
        #     it: under `if rank == 0:` the others would not come, and rank 0 would wait for ever.
        dist.all_reduce(total)
        mean_loss = (total[0] / total[1]).item()
        if rank == 0:
            print(f"epoch={epoch + 1} loss={mean_loss:.4f}")

    # (7) One rank writes the checkpoint; all models are equal. `model.module` is the model without
    #     its wrapper: a checkpoint of it can be loaded with DDP and without. The others wait
    #     until the file is whole before they go on.
    if rank == 0:
        torch.save(model.module.state_dict(), options.checkpoint)
    dist.barrier()

    # (8) Test on new points, each rank on every n-th of them.
    points, labels = make_spirals(2000, seed=options.seed + 1)
    points, labels = points[rank::processes].to(device), labels[rank::processes].to(device)
    with torch.no_grad():
        correct = (model.module(points).argmax(dim=1) == labels).sum()
    dist.all_reduce(correct)
    if rank == 0:
        print(f"result: loss={mean_loss:.4f} accuracy={correct.item() / 2000:.4f}")

    # (9) Say goodbye, so that no rank is left waiting. The moment after it is for gloo's threads:
    #     PyTorch 2.9 may crash where Python ends while one of them still holds a tensor.
    dist.destroy_process_group()
    time.sleep(0.1)


if __name__ == "__main__":
    main()
