"""A server's only operating theatre: one repair at a time.

Guarantees: at most one repair runs; who asks for another meanwhile gets Conflict; a repair whose
reader leaves goes on to its end, so that a lost connection leaves nothing half done; `stop` ends it
with its processes.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from ...errors import Conflict
from ...i18n import N_
from .carry_out import carry_out
from .failed import RepairFailed
from .steps import Repair


class Mender:
    """See the module."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._task: asyncio.Task[None] | None = None
        self._code = ""

    @property
    def running(self) -> str:
        """The code that is being mended, or ""."""
        return self._code if self._task is not None and not self._task.done() else ""

    async def mend(
        self, code: str, repair: Repair, kernels: Any = None
    ) -> AsyncGenerator[str, None]:
        """Carries it out; yields what is said. kernels: Jupyter Server's manager. Raises Conflict,
        RepairFailed.
        """
        if self.running:
            raise Conflict(N_("Another repair is under way. Wait until it is done."))
        said: asyncio.Queue[str | None] = asyncio.Queue()  # bounded by what a repair may say

        async def work() -> None:
            async with aclosing(carry_out(repair, kernels=kernels)) as texts:
                async for text in texts:
                    said.put_nowait(text)

        self._log.info("gpucamp doctor mends %s: %s", code, repair.command)
        self._code, self._task = code, asyncio.create_task(work())
        task = self._task
        task.add_done_callback(lambda ended: self._ended(ended, said))
        while (text := await said.get()) is not None:
            yield text
        if task.cancelled():
            raise RepairFailed(N_("It was stopped. Examine again to see what is left to do."))
        task.result()

    def _ended(self, task: asyncio.Task[None], said: asyncio.Queue[str | None]) -> None:
        said.put_nowait(None)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._log.warning("gpucamp doctor could not mend %s: %s", self._code, error)

    async def stop(self) -> bool:
        """Ends a running repair and waits for its end; whether there was one."""
        task = self._task
        if task is None or task.done():
            return False
        task.cancel()
        await asyncio.wait([task])
        return True
