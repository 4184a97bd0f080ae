"""A MASTER_ADDR from another machine's script."""

import os
from datetime import timedelta

import torch.distributed as dist

os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"] = "127.0.0.1", "29512"
os.environ["TORCHELASTIC_USE_AGENT_STORE"] = "False"
os.environ["RANK"] = "1"
dist.init_process_group("gloo", timeout=timedelta(seconds=4))
