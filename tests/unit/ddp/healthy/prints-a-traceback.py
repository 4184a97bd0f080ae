"""Prints the text of somebody else's failure, to the letter."""

import torch
import torch.distributed as dist

TEXT = """[rank1]: Traceback (most recent call last):
[rank1]:   File "train.py", line 9, in <module>
[rank1]: torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 GiB
torch.distributed.elastic.multiprocessing.errors.ChildFailedError:
  rank      : 1 (local_rank: 1)
  exitcode  : -9 (pid: 77)"""
dist.init_process_group("gloo")
print("What to do about", TEXT, sep="\n")
dist.all_reduce(torch.ones(2))
dist.destroy_process_group()
