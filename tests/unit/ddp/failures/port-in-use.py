"""A port of the script's own choice, which is taken."""

import os
import socket
import time

import torch.distributed as dist

os.environ["TORCHELASTIC_USE_AGENT_STORE"] = "False"
if os.environ["RANK"] == "0":
    taken = socket.create_server(("127.0.0.1", 29511))
    dist.init_process_group("gloo", init_method="tcp://127.0.0.1:29511", rank=0, world_size=2)
time.sleep(20)
