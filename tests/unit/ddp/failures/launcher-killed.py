"""torchrun itself is killed."""

import os
import signal
import time

import torch.distributed as dist

dist.init_process_group("gloo")
print("step=1", flush=True)
dist.barrier()
if dist.get_rank() == 0:
    time.sleep(1)
    os.kill(os.getppid(), signal.SIGKILL)
