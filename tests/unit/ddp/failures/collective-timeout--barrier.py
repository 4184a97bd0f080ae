"""One rank does not come to a barrier that is watched."""

import datetime
import time

import torch.distributed as dist

dist.init_process_group("gloo")
if dist.get_rank() == 1:
    time.sleep(20)
dist.monitored_barrier(timeout=datetime.timedelta(seconds=2))
