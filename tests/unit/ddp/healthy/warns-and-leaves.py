"""Warnings, a thread and a finalizer that fail, and no destroy_process_group()."""

import sys
import threading
import warnings

import torch
import torch.distributed as dist


class Loader:
    def __del__(self):
        raise OSError("No space left on device")


def fail():
    raise RuntimeError("CUDA error: out of memory")


dist.init_process_group("gloo")
warnings.warn("Error: Duplicate GPU detected", RuntimeWarning, stacklevel=1)
thread = threading.Thread(target=fail)
thread.start()
thread.join()
loader = Loader()
dist.all_reduce(torch.ones(2))
dist.barrier()
sys.exit(0)
