"""After the exception the interpreter's end prints another that nobody sees to."""

import atexit

import torch
import torch.distributed as dist


class Loader:
    def __del__(self):
        raise AttributeError("'NoneType' object has no attribute 'close'")


def late():
    raise OSError("No space left on device")


dist.init_process_group("gloo")
loader = Loader()
atexit.register(late)
if dist.get_rank() == 0:
    raise ValueError("expected 3 channels, got 1")
dist.all_reduce(torch.ones(2))
