"""An assertion in a process that the script starts itself."""

import torch
import torch.distributed as dist
import torch.multiprocessing as mp


def work(number):
    assert number != 1, "part 1 is empty"


if __name__ == "__main__":
    dist.init_process_group("gloo")
    if dist.get_rank() == 1:
        mp.spawn(work, nprocs=2)
    dist.all_reduce(torch.ones(2))
