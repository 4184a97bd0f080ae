"""How often servers may tell of their DDP runs.

Guarantees: a server tells of at most MOST runs in WINDOW seconds, and CHANGES times of one that
goes on, so that code in a notebook, which can use its server's token, can fill neither the figures
nor the ledger; each run's end is let through, once. What is remembered is bounded by the servers
that told something of late. In memory only: a service that was restarted begins anew. For one
thread, that of the event loop.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

from ..models import Key

MOST = 60
CHANGES = 20
WINDOW = 3600.0


@dataclass(slots=True)
class _Told:
    since: float
    changes: int = 0
    ended: bool = False


class DdpTellings:
    """What was told to this process."""

    def __init__(self, now: Callable[[], float] = monotonic) -> None:
        self._now = now
        self._told: dict[Key, dict[str, _Told]] = {}

    def count(self, server: Key, run: str, *, ended: bool) -> bool:
        """One more. False if it is too many, or the end of this run was told; it is not counted."""
        now = self._now()
        self._forget(now - WINDOW)
        mine = self._told.setdefault(server, {})
        if run not in mine and len(mine) >= MOST:
            return False
        told = mine.setdefault(run, _Told(now))
        if told.ended or not ended and told.changes >= CHANGES:
            return False
        told.ended = ended
        told.changes += 1
        return True

    def take_back(self, server: Key, run: str) -> None:
        """What was counted last of this run could not be kept: it will be told again."""
        told = self._told.get(server, {}).get(run)
        if told is not None:
            told.ended = False
            told.changes -= 1

    def _forget(self, before: float) -> None:
        for server, runs in list(self._told.items()):
            for run in [run for run, told in runs.items() if told.since < before]:
                del runs[run]
            if not runs:
                del self._told[server]
