"""Which lease had which device when, for a picture of a period.

Guarantees: a device's time in a lease is from the grant until it was given back or the lease ended;
the latest come first, so that a limit leaves out the oldest. What it costs depends on what ended
since the period began, not on the years before.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, func, or_, select, union_all

from .tables import LIVE, lease, lease_device


@dataclass(frozen=True, slots=True)
class Tenure:
    """A device in a lease. `end` None: the lease holds it now, and ends by `expires_at`."""

    lease_id: str
    user: str
    server: str
    device_uuid: str
    begin: datetime
    end: datetime | None
    expires_at: datetime | None
    end_reason: str


def tenures(
    connection: Connection,
    uuids: Collection[str],
    since: datetime,
    until: datetime,
    limit: int,
    user: str | None = None,
) -> tuple[Tenure, ...]:
    """At most `limit` of these devices that have a part in [since, until), the latest first."""
    end = func.coalesce(lease_device.c.given_back_at, lease.c.ended_at, type_=lease.c.ended_at.type)
    query = (
        select(lease, lease_device.c.device_uuid, end.label("end"))
        .join(lease_device)
        .where(
            *in_period(since, until),
            # never by the index of devices: it has all their leases of years
            func.coalesce(lease_device.c.device_uuid, "").in_(list(uuids)),
            or_(end.is_(None), end > since),
        )
        .order_by(lease.c.granted_at.desc(), lease.c.id.desc(), lease_device.c.position)
        .limit(limit)
    )
    if user is not None:
        query = query.where(lease.c.user_name == user)
    return tuple(_tenure(row) for row in connection.execute(query))


def _tenure(row: Row[Any]) -> Tenure:
    ends = [at for at in (row.expires_at, row.drain_until, row.revoke_until) if at is not None]
    return Tenure(
        row.id,
        row.user_name,
        row.server_name,
        row.device_uuid,
        row.granted_at,
        row.end,
        min(ends) if ends and row.end is None else None,
        row.end_reason,
    )


def in_period(since: datetime | None, until: datetime | None) -> list[ColumnElement[bool]]:
    """Conditions on leases that have a part in [since, until); None is for ever."""
    found: list[ColumnElement[bool]] = []
    if until is not None:
        found.append(lease.c.granted_at < until)
    if since is not None:
        # those that began before are few, and an index alone tells them
        earlier = select(lease.c.id).where(lease.c.granted_at < since, lease.c.ended_at > since)
        live = select(lease.c.id).where(LIVE)
        found.append(or_(lease.c.granted_at >= since, lease.c.id.in_(union_all(earlier, live))))
    return found
