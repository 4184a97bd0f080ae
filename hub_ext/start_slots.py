"""Lets few containers start at the same time, so that they leave some of the host to the hub.

To create and start a container keeps a core busy for about half a second (Engine, runc, network,
the program in it). When many start at once on the host of the hub, they take its cores from it, and
everybody waits for answers; they are not ready sooner, because they take them from each other, too.

What this module guarantees: of the starts that go on for less than PATIENCE, never more than
`count` are under way; they come in order of arrival. A slow one keeps its slot no longer than that,
so an Engine call that takes a minute delays nobody else's by more; a start that fails or is
cancelled gives its slot back at once.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

PATIENCE = 2.0  # seconds


def usual_count() -> int:
    """Half of the cores that this process may use; the other half is for all else."""
    return max(1, len(os.sched_getaffinity(0)) // 2)


class StartSlots:
    """Shared by all starts of one hub."""

    def __init__(self, count: int) -> None:
        self._free = asyncio.Semaphore(count)

    @asynccontextmanager
    async def one(self) -> AsyncIterator[None]:
        """Hold a slot; waits for one."""
        await self._free.acquire()
        kept = True

        def give_back() -> None:
            nonlocal kept
            if kept:
                kept = False
                self._free.release()

        too_slow = asyncio.get_running_loop().call_later(PATIENCE, give_back)
        try:
            yield
        finally:
            too_slow.cancel()
            give_back()
