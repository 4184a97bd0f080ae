"""An error that was caught and raised again as another, with its cause."""

import torch
import torch.distributed as dist

dist.init_process_group("gloo")
rank = dist.get_rank()
try:
    if rank == 1:
        {"lr": 0.1}["learning_rate"]
except KeyError as error:
    raise RuntimeError("the configuration is not complete") from error
dist.all_reduce(torch.ones(2))
