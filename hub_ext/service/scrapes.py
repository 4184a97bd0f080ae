"""What a scrape of metrics reads and writes, in threads of its own.

Guarantees: however many others wait for the ledger, and however long it takes, a scrape has its
answer within `patience` seconds, if need be without the ledger; one read is under way at a time.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
from collections.abc import Callable
from datetime import datetime
from typing import TypeVar

from ..errors import LedgerUnavailable
from ..ledger.figures import Figures

T = TypeVar("T")

PATIENCE = 3.0  # Prometheus gives a scrape up after 10 s by default

_log = logging.getLogger(__name__)


class Scrapes:
    """Lives in one event loop."""

    def __init__(self, patience: float = PATIENCE) -> None:
        self._patience = patience
        # one for a read that may be stuck, one to write text
        self._threads = concurrent.futures.ThreadPoolExecutor(2, thread_name_prefix="metrics")
        self._read: concurrent.futures.Future[Figures] | None = None

    async def figures(self, read: Callable[[datetime], Figures], at: datetime) -> Figures | None:
        """What the ledger says; None if it does not answer in time."""
        if self._read is None or self._read.done():
            self._read = self._threads.submit(read, at)
        reading = asyncio.wrap_future(self._read)
        # whoever leaves, or waits no longer, does not cancel it for others; nor is its error lost
        reading.add_done_callback(lambda done: done.cancelled() or done.exception())
        done, _pending = await asyncio.wait({reading}, timeout=self._patience)
        if not done:
            _log.warning("metrics without the ledger: no answer for %g s", self._patience)
            return None
        try:
            return reading.result()
        except LedgerUnavailable as error:
            _log.warning("metrics without the ledger: %s", error)
            return None

    async def aside(self, work: Callable[[], T]) -> T:
        """Do it beside the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)
