"""Who in a class needs help, and why. Pure.

Guarantees:
- Needs are ordered: what keeps somebody from working comes before what will, and that before what
  is only worth knowing. Who raised a hand comes first, the longest first: a person asked.
- Nothing that is unknown counts as a need, and a verdict from before the last start counts as none.
- The order of a class is total: the same facts give the same order, whatever order they came in.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from .models import OFFER_RESET_AFTER
from .space import Level
from .verdicts import Word

ENDS_SOON = timedelta(minutes=15)
IDLE_FOR = timedelta(minutes=30)  # a lecture and a break are no reason to look
FAILED_FOR = timedelta(minutes=15)  # who has not launched again by then does something else


class Need(StrEnum):
    """Why somebody may need help, the most urgent first."""

    HAND = "hand"  # raised
    BLOCKED = "blocked"  # GPU doctor found what keeps the server from its work
    START_FAILS = "start-fails"  # again and again
    DEVICE_ILL = "device-ill"  # one that the server holds
    DISK_FULL = "disk-full"
    RUN_HANGS = "run-hangs"  # of DDP: its devices wait for nothing
    RECLAIM = "reclaim"  # idle devices are about to be taken back
    ENDS_SOON = "ends-soon"  # the lease
    DEGRADED = "degraded"  # GPU doctor found what slows the server down
    RUN_FAILED = "run-failed"  # of DDP, a short while ago, and none was launched since
    WAITS = "waits"  # in the line
    IDLE = "idle"  # holds devices that do nothing for long


_ORDER = {need: place for place, need in enumerate(Need)}


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of one server. None and 0: nothing is known, or nothing is the matter."""

    user: str
    server: str = ""
    hand_since: datetime | None = None
    verdict: Word | None = None  # since its last start
    failed_starts: int = 0
    devices_ill: int = 0
    disk: Level | None = None  # the fullest of its volumes
    run_hangs_since: datetime | None = None
    run_failed_at: datetime | None = None
    reclaim_at: datetime | None = None
    expires_at: datetime | None = None
    waits_since: datetime | None = None
    idle_since: datetime | None = None


def needs(facts: Facts, now: datetime) -> tuple[Need, ...]:
    """Why this server's user may need help, the most urgent first; () if nothing is the matter."""
    idle = facts.idle_since is not None and now - facts.idle_since >= IDLE_FOR
    ends = facts.expires_at is not None and facts.expires_at - now <= ENDS_SOON
    failed = facts.run_failed_at is not None and now - facts.run_failed_at < FAILED_FOR
    found = {
        Need.HAND: facts.hand_since is not None,
        Need.BLOCKED: facts.verdict is Word.BLOCKED,
        Need.START_FAILS: facts.failed_starts >= OFFER_RESET_AFTER,
        Need.DEVICE_ILL: facts.devices_ill > 0,
        Need.DISK_FULL: facts.disk is Level.FULL,
        Need.RUN_HANGS: facts.run_hangs_since is not None,
        Need.RECLAIM: facts.reclaim_at is not None,
        Need.ENDS_SOON: ends,
        Need.DEGRADED: facts.verdict is Word.DEGRADED,
        Need.RUN_FAILED: failed,
        Need.WAITS: facts.waits_since is not None,
        Need.IDLE: idle and facts.reclaim_at is None,
    }
    return tuple(need for need in Need if found[need])


def urgency(facts: Facts, now: datetime) -> tuple[int, float, str, str]:
    """Sorts a class, who needs help first; those with the same need by how long it has lasted."""
    found = needs(facts, now)
    if not found:
        return (len(_ORDER), 0.0, facts.user, facts.server)
    since = {
        Need.HAND: facts.hand_since,
        Need.RUN_HANGS: facts.run_hangs_since,
        Need.RECLAIM: facts.reclaim_at,
        Need.ENDS_SOON: facts.expires_at,
        Need.RUN_FAILED: facts.run_failed_at,
        Need.WAITS: facts.waits_since,
        Need.IDLE: facts.idle_since,
    }.get(found[0])
    return (
        _ORDER[found[0]],
        since.timestamp() if since is not None else 0.0,
        facts.user,
        facts.server,
    )
