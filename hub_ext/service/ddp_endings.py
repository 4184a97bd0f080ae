"""How DDP runs ended, as servers tell it: counted for metrics, and kept nowhere else.

Guarantees: a run counts once, however often it is told; a server counts at most MOST runs in
WINDOW seconds, so that code in a notebook, which can use its server's token, cannot fill the
figures; what is remembered is bounded by the servers that told something of late. In memory only: a
service that was restarted begins anew. For one thread, that of the event loop.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable
from time import monotonic

from ..models import Key
from . import counters

RUN = re.compile(r"[0-9]{8}-[0-9]{6}-[0-9a-f]{6}", re.ASCII)
ENDING = re.compile("|".join(counters.DDP_ENDINGS), re.ASCII)
MOST = 60
WINDOW = 3600.0


class DdpEndings:
    """The endings of this process."""

    def __init__(self, now: Callable[[], float] = monotonic) -> None:
        self._now = now
        self._told: dict[Key, deque[tuple[float, str]]] = {}

    def count(self, server: Key, run: str, ending: str) -> bool:
        """Count it; False if it is known or the server has told too many."""
        now = self._now()
        for key, told in list(self._told.items()):
            while told and now - told[0][0] > WINDOW:
                told.popleft()
            if not told:
                del self._told[key]
        mine = self._told.setdefault(server, deque())
        if len(mine) >= MOST or any(known == run for _at, known in mine):
            return False
        mine.append((now, run))
        counters.DDP_RUNS.labels(ending).inc()
        return True
