"""When leases are expected to end. Pure.

What this supposes: each lease ends at its deadline, or earlier, when it has lasted as long as
leases usually do (Snapshot.typical_lease), if that is still ahead.
"""

from __future__ import annotations

import heapq
from bisect import bisect_right
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from operator import attrgetter, itemgetter

from .buckets import Bucket, Sorter
from .models import Lease, Snapshot

NEVER = datetime.max.replace(tzinfo=UTC)  # inside the queue's modules: unknown

Moment = tuple[datetime, str]  # and its basis: "deadline", "history"; "" if it is unknown or now
UNKNOWN: Moment = (NEVER, "")

_moment = itemgetter(0, 1)
_granted_at, _expires_at = attrgetter("granted_at"), attrgetter("expires_at")


def expected_end(
    start: datetime, deadline: datetime | None, now: datetime, typical: timedelta | None
) -> Moment:
    """When a lease is expected to end: NEVER if nothing is known."""
    if typical is not None:
        usual = start + typical
        if usual > now and (deadline is None or usual < deadline):
            return (usual, "history")
    if deadline is None:
        return UNKNOWN
    return (deadline if deadline > now else now, "deadline")


def granted_after(moment: datetime, leases: Bucket[Lease]) -> Bucket[Lease]:
    """Those of the leases that were, in order of grant."""
    ordered = _leases.sort(leases).things
    return ordered[bisect_right(ordered, moment, key=_granted_at) :]


def in_order_of_end(snapshot: Snapshot) -> Iterator[tuple[Moment, Lease]]:
    """The leases whose expected end is known, first to end first.

    It costs as much as is asked for: mostly, who waits needs to know the next ends only.
    """
    now, typical = snapshot.now, snapshot.typical_lease
    with_deadline = _leases.sort(snapshot.leases).by[0].all.get(True, ())
    ends = ((max(lease.expires_at or NEVER, now), "deadline", lease) for lease in with_deadline)
    if typical is not None:
        not_over = granted_after(now - typical, snapshot.leases)
        usual = ((lease.granted_at + typical, "history", lease) for lease in not_over)
        ends = heapq.merge(ends, usual, key=_moment)
    seen = set()
    for at, basis, lease in ends:
        if lease.id not in seen:
            seen.add(lease.id)
            yield (at, basis), lease


def _has_deadline(lease: Lease) -> bool | None:
    return lease.expires_at is not None or None


_leases = Sorter[Lease](
    attrgetter("granted_at", "id"), (_has_deadline, attrgetter("expires_at", "id"))
)
