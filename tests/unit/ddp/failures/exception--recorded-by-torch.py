"""With torch's @record, which writes the exception to a file of its own."""

import torch
import torch.distributed as dist
from torch.distributed.elastic.multiprocessing.errors import record


@record
def main():
    dist.init_process_group("gloo")
    if dist.get_rank() == 1:
        raise ArithmeticError("loss is nan in step 3")
    dist.all_reduce(torch.ones(2))


main()
