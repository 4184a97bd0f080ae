"""Restarts all kernels of this server, a few at a time.

Guarantees: one that does not come back keeps none of the others from it; the wait is bounded.
"""

from __future__ import annotations

import asyncio
from typing import Any

from ..doctor.repairs.failed import RepairFailed
from ..doctor.repairs.restart_kernel import restart_whatever_it_does

AT_A_TIME = 3


async def restart_all(kernels: Any) -> dict[str, list[str]]:
    """{restarted: [ids], failed: [ids]}. kernels: Jupyter Server's manager."""
    turns = asyncio.Semaphore(AT_A_TIME)

    async def restart(kernel_id: str) -> bool:
        async with turns:
            try:
                await restart_whatever_it_does(kernels, kernel_id)
            except RepairFailed:
                return False
            return True

    ids = list(kernels.list_kernel_ids())
    done = await asyncio.gather(*(restart(kernel_id) for kernel_id in ids))
    gone = set(ids) - set(kernels.list_kernel_ids())  # somebody shut it down meanwhile
    told = [
        (kernel_id, well)
        for kernel_id, well in zip(ids, done, strict=True)
        if kernel_id not in gone
    ]
    return {
        "restarted": [kernel_id for kernel_id, well in told if well],
        "failed": [kernel_id for kernel_id, well in told if not well],
    }
