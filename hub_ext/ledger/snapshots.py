"""All that a decision may look at, as one transaction sees it.

It is read every half second while somebody waits, so it has to be cheap: while nothing changes,
only the time and the usage are told anew.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy import Connection, exists, select

from ..models import Snapshot
from . import accounting, devices, facts, leases, waiting
from .tables import lease, lease_device

InUse = dict[str, list[tuple[float, datetime]]]  # user -> (devices, since when) of live leases

_TYPICAL_OF = 50  # latest leases that ended
_TYPICAL_MIN = 5  # fewer say nothing


@dataclass(frozen=True, slots=True)
class Seen:
    """A snapshot, and what it takes to tell the time anew while the ledger does not change."""

    version: str
    snapshot: Snapshot
    in_use: InUse
    shares: accounting.Shares


def read(connection: Connection, now: datetime, last: Seen | None = None) -> Seen:
    """Devices, queue, live leases, usage and policy at `now`.

    What `last` saw is used again if nothing has changed since.
    """
    version, policy, run = facts.version_policy_and_run(connection)
    if last is not None and version and last.version == version:
        usage = accounting.faded(last.shares, last.in_use, now, policy)
        return replace(last, snapshot=replace(last.snapshot, now=now, usage=usage))
    live = leases.live_held(connection)
    in_use: InUse = defaultdict(list)
    for held in live:
        if held.devices:
            in_use[held.lease.user].append((held.devices, held.lease.granted_at))
    shares = accounting.shares(connection)
    snapshot = Snapshot(
        devices=devices.read(connection),
        queue=waiting.read(connection),
        leases=tuple([held.lease for held in live]),
        now=now,
        usage=accounting.faded(shares, in_use, now, policy),
        typical_lease=typical_lease(connection),
        policy=policy,
        run=run.name,
        run_since=run.since,
    )
    return Seen(version, snapshot, in_use, shares)


def typical_lease(connection: Connection) -> timedelta | None:
    """The median duration of the latest leases with devices that ended; None if too few did."""
    rows = connection.execute(
        select(lease.c.granted_at, lease.c.ended_at)
        .where(
            lease.c.ended_at.is_not(None),
            exists().where(lease_device.c.lease_id == lease.c.id),
        )
        .order_by(lease.c.ended_at.desc())
        .limit(_TYPICAL_OF)
    ).all()
    if len(rows) < _TYPICAL_MIN:
        return None
    durations: list[timedelta] = [row.ended_at - row.granted_at for row in rows]
    return statistics.median_low(durations)
