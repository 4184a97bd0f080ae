"""A configuration that cannot be read, with the place in it on more lines."""

import json

import torch
import torch.distributed as dist

dist.init_process_group("gloo")
if dist.get_rank() == 0:
    try:
        json.loads('{"lr": 0.1,\n "epochs": }')
    except json.JSONDecodeError as error:
        raise SystemError("config.json cannot be read") from error
dist.all_reduce(torch.ones(2))
