"""Reads a run's log for its numbers, and only what is new of it each time.

Guarantees: a question costs at most AT_ONCE bytes of reading, whatever the size of the log (the
answer says whether there is more); at most KEPT runs are held in memory; two questions for the same
run wait for each other and read nothing twice. File I/O happens in a thread.
"""

from __future__ import annotations

import asyncio
import os
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

from .. import regular_file
from . import logs
from .metrics import Metrics

AT_ONCE = 16 * 2**20
KEPT = 8
_CHUNK = 2**18


@dataclass
class _Progress:
    """How far a log was read."""

    metrics: Metrics = field(default_factory=Metrics)
    offset: int = 0
    rank: int | None = None
    ended: bool = False
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class MetricsReader:
    """The numbers of the runs that were asked for last."""

    def __init__(self) -> None:
        self._runs: OrderedDict[str, _Progress] = OrderedDict()

    async def read(self, run_id: str, path: str, *, over: bool) -> dict[str, Any]:
        """{complete, series}. path: of the log; over: nothing will be added to it any more."""
        progress = self._runs.setdefault(run_id, _Progress())
        self._runs.move_to_end(run_id)
        while len(self._runs) > KEPT:
            self._runs.popitem(last=False)
        async with progress.lock:
            complete = await asyncio.to_thread(_read_on, progress, path, over)
            return {"complete": complete, "series": progress.metrics.view()}


def _read_on(progress: _Progress, path: str, over: bool) -> bool:
    """Whether all that there is was read."""
    if progress.ended:
        return True
    try:
        with regular_file.opened(path) as file:
            size = os.fstat(file.fileno()).st_size
            until = min(size, progress.offset + AT_ONCE)
            file.seek(progress.offset)
            while progress.offset < until:
                chunk = file.read(min(_CHUNK, until - progress.offset)) or b""
                whole = logs.whole(chunk, everything=over and progress.offset + len(chunk) == size)
                if not whole:
                    break  # half a character or half a header: more will come
                pieces, progress.rank = logs.split(whole, progress.offset, progress.rank)
                for piece in pieces:
                    progress.metrics.feed(piece.rank, piece.text)
                progress.offset += len(whole)
                file.seek(progress.offset)
    except OSError:
        return over  # no log, or none yet
    complete = until == size
    if complete and over:
        progress.metrics.end()
        progress.ended = True
    return complete
