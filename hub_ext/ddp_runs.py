"""DDP runs of a server, as the service knows them from what the server tells. Pure.

Guarantees: a fixed form only, never a text that a user can choose; a run that is over stays as it
ended; of a server there are at most MOST_ALIVE runs that go on, and the one that ended last. It is
what a server says of itself: good for helping its user, not for decisions.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

RUN = re.compile(r"[0-9]{8}-[0-9]{6}-[0-9a-f]{6}", re.ASCII)
MOST_ALIVE = 8  # as many as a server can have
MOST_RANKS = 4096


class RunState(StrEnum):
    """What a run does, or how it ended."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    STOPPED = "stopped"
    LOST = "lost"


ENDINGS = tuple(state.value for state in RunState if state is not RunState.RUNNING)


@dataclass(frozen=True, slots=True)
class DdpRun:
    """A run as its server told it last.

    ranks: how many it was started with; rank: the one that failed first, or that the others wait
    for, None where nobody can say; hangs: it goes on, and nothing moves; at: when this was told
    first; lease_id: of the lease that the server had then.
    """

    user: str
    server: str
    run: str
    state: RunState
    ranks: int
    at: datetime
    rank: int | None = None
    hangs: bool = False
    lease_id: str = ""

    @property
    def alive(self) -> bool:
        """Whether it goes on."""
        return self.state is RunState.RUNNING


def after(known: Iterable[DdpRun], told: DdpRun) -> tuple[DdpRun, ...] | None:
    """The runs of its server once `told` was told, in_order; None if that is nothing new."""
    of_lease = [each for each in known if each.lease_id == told.lease_id]
    before = next((each for each in of_lease if each.run == told.run), None)
    if before is not None and (not before.alive or replace(told, at=before.at) == before):
        return None
    found = in_order([told, *(each for each in of_lease if each.run != told.run)])
    alive = [each for each in found if each.alive]
    ended = [each for each in found if not each.alive]
    return (*alive[:MOST_ALIVE], *ended[:1])


def in_order(runs: Iterable[DdpRun]) -> tuple[DdpRun, ...]:
    """Those that go on, those that hang first of all; then what ended; the latest first."""
    latest = sorted(runs, key=lambda each: (each.at, each.run), reverse=True)
    return tuple(sorted(latest, key=lambda each: (not each.alive, not each.hangs)))


def hanging(runs: Sequence[DdpRun]) -> DdpRun | None:
    """The first that hangs."""
    return next((each for each in runs if each.alive and each.hangs), None)


def failed(runs: Sequence[DdpRun]) -> DdpRun | None:
    """The run that ended last, if it failed or was lost and nothing was launched since."""
    if not runs or runs[0].alive:
        return None
    return runs[0] if runs[0].state in (RunState.FAILED, RunState.LOST) else None
