"""A group of exceptions, drawn with bars at its left."""

import asyncio

import torch
import torch.distributed as dist


async def load(name):
    raise FileExistsError(f"{name} is there already")


async def main():
    async with asyncio.TaskGroup() as group:
        group.create_task(load("cache-a"))


dist.init_process_group("gloo")
if dist.get_rank() == 1:
    asyncio.run(main())
dist.all_reduce(torch.ones(2))
