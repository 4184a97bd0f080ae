"""All that a decision may look at, as one transaction sees it.

It is read every half second while somebody waits, and after each change, so it has to be cheap: a
table is read again only if it has another version, and what did not change in it stays the very
same object, by which those who decide know it again (buckets.py).
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, Table, exists, select

from ..models import DeviceRecord, QueueEntry, Snapshot
from . import accounting, devices, facts, leases, waiting
from .accounting import FadedUse, Share
from .devices import DeviceRows
from .kept_rows import Kept
from .leases import LiveLeases
from .tables import device, fair_share, lease, lease_device, queue_entry, slot

_TYPICAL_OF = 50  # latest leases that ended
_TYPICAL_MIN = 5  # fewer say nothing


@dataclass(frozen=True, slots=True)
class Seen:
    """A snapshot, and what it was made of."""

    snapshot: Snapshot
    versions: facts.Versions
    entries: Kept[QueueEntry]
    live: LiveLeases
    device_rows: DeviceRows
    holders: Mapping[str, Sequence[str]]
    records: Mapping[str, DeviceRecord]
    shares: Kept[Share]
    use: FadedUse


def read(connection: Connection, now: datetime, last: Seen | None = None) -> Seen:
    """Devices, queue, live leases, usage and policy at `now`.

    What `last` saw is used again where nothing has changed since; it may be of another transaction,
    but must be of the same database.
    """
    versions, policy, run = facts.versions_policy_and_run(connection)
    last = last or _NOTHING

    def changed(*tables: Table) -> bool:
        found = versions.of(*tables)
        return "" in found or found != last.versions.of(*tables)

    entries, queue = last.entries, last.snapshot.queue
    if changed(queue_entry):
        entries = waiting.read_again(connection, last.entries)
        queue = tuple(entries.things.values())

    live, current, typical = last.live, last.snapshot.leases, last.snapshot.typical_lease
    if changed(lease, lease_device):
        live = leases.live_again(connection, last.live, devices_changed=changed(lease_device))
        current = tuple([held.lease for held in live.held.values()])
        typical = typical_lease(connection)

    rows = devices.rows_again(connection, last.device_rows) if changed(device) else last.device_rows
    holders = devices.holders(connection) if changed(slot) else last.holders
    records, known = last.records, last.snapshot.devices
    if rows is not last.device_rows or holders is not last.holders:
        records = devices.with_holders(rows, holders, last.device_rows, last.records)
        known = tuple(records.values())

    shares = last.shares
    if changed(fair_share):
        shares = accounting.shares_again(connection, last.shares)
    use = last.use
    if shares is not last.shares or live is not last.live or policy.half_life != use.half_life:
        use = accounting.faded_use(shares.things, _in_use(live), policy.half_life)

    snapshot = Snapshot(
        devices=known,
        queue=queue,
        leases=current,
        now=now,
        usage=use.at(now),
        typical_lease=typical,
        policy=policy,
        run=run.name,
        run_since=run.since,
    )
    return Seen(snapshot, versions, entries, live, rows, holders, records, shares, use)


def _in_use(live: LiveLeases) -> list[tuple[str, float, float]]:
    return [
        (held.lease.user, held.devices, held.lease.granted_at.timestamp())
        for held in live.held.values()
        if held.devices
    ]


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


_NOTHING = Seen(
    Snapshot((), ()),
    facts.Versions(),
    Kept(),
    LiveLeases(),
    DeviceRows(),
    {},
    {},
    Kept(),
    accounting.faded_use({}, (), timedelta(hours=1)),
)
