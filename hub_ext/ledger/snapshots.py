"""All that a decision may look at, as one transaction sees it.

It is read every half second while somebody waits, and for each grant, so it has to be cheap.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from datetime import datetime, timedelta

from sqlalchemy import Connection, exists, select

from ..models import Snapshot
from . import accounting, devices, facts, leases, waiting
from .tables import lease, lease_device

_TYPICAL_OF = 50  # latest leases that ended
_TYPICAL_MIN = 5  # fewer say nothing


def read(connection: Connection, now: datetime) -> Snapshot:
    """Devices, queue, live leases, usage and policy at `now`."""
    policy, run = facts.policy_and_run(connection)
    live = leases.live_held(connection)
    in_use: dict[str, list[tuple[float, datetime]]] = defaultdict(list)
    for held in live:
        if held.devices:
            in_use[held.lease.user].append((held.devices, held.lease.granted_at))
    return Snapshot(
        devices=devices.read(connection),
        queue=waiting.read(connection),
        leases=tuple([held.lease for held in live]),
        now=now,
        usage=accounting.faded(connection, in_use, now, policy),
        typical_lease=typical_lease(connection),
        policy=policy,
        run=run.name,
        run_since=run.since,
    )


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
