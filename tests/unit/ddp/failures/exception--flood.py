"""The rank that failed is long out of the end of the log: the other goes on to write."""

import os
import time

import torch.distributed as dist

dist.init_process_group("gloo")
if dist.get_rank() == 1:
    raise ValueError("batch 3 has no labels")
line = "UserWarning: the scheduler was called before the optimizer\n" * 1000
end = time.monotonic() + 20
for _ in range(900):
    os.write(2, line.encode())
time.sleep(30)
