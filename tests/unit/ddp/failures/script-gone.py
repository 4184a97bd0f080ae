"""The script is deleted while it runs, fails, and is to be started again."""

import os
import pathlib
import sys

import torch.distributed as dist

dist.init_process_group("gloo")
if dist.get_rank() == 0:
    pathlib.Path(sys.argv[0]).unlink()
    os._exit(1)
dist.barrier()
