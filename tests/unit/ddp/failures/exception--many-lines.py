"""A message of several lines, the first of them empty, with what looks like a traceback."""

import torch
import torch.distributed as dist

dist.init_process_group("gloo")
if dist.get_rank() == 0:
    raise RuntimeError(
        "\nThe model and the data disagree:\n\n  model: 10 classes\n  data:  12 classes\nSee above."
    )
dist.all_reduce(torch.ones(2))
