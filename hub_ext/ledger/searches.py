"""Leases and lines of the audit trail that meet filters, a page at a time, from indexes.

Guarantees: the latest first, by what never changes (the grant of a lease, the number of a line), so
that what comes or ends while somebody turns the pages neither hides nor repeats anything; the cost
depends on the page, not on the years of history, for each filter by itself.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, func, literal, or_, select, tuple_

from ..models import AuditEntry, Lease
from . import audit, leases
from .tables import LIVE, UtcDateTime, audit_entry, lease, lease_device
from .time_line import in_period

# By how much a clock may have been set back while lines were written.
SLACK = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class LeaseSearch:
    """What a lease must be; None is anything. `device`: it was granted this one."""

    include_ended: bool = False
    state: str | None = None  # LeaseState.ENDED includes those by itself
    user: str | None = None
    group: str | None = None  # of its user at the grant
    device: str | None = None
    since: datetime | None = None  # it had not ended then
    until: datetime | None = None  # it was granted before


@dataclass(frozen=True, slots=True)
class AuditSearch:
    """What a line must be; None is anything. since <= at < until."""

    user: str | None = None  # whose server it is about
    lease: str | None = None
    actor: str | None = None
    action: str | None = None
    since: datetime | None = None
    until: datetime | None = None


def find_leases(
    connection: Connection, sought: LeaseSearch, limit: int, after: tuple[datetime, str] | None
) -> tuple[Lease, ...]:
    """At most `limit` leases, the latest grant first; `after` is (granted_at, id) of one."""
    conditions: list[ColumnElement[bool]] = []
    if sought.state is not None:
        conditions.append(lease.c.state == sought.state)
    elif not sought.include_ended:
        conditions.append(LIVE)
    if sought.user is not None:
        conditions.append(lease.c.user_name == sought.user)
    if sought.group is not None:
        conditions.append(_has_group(connection, sought.group))
    if sought.device is not None:
        held = select(lease_device.c.lease_id).where(lease_device.c.device_uuid == sought.device)
        conditions.append(lease.c.id.in_(held))
    conditions += in_period(sought.since, sought.until)
    if after is not None:
        place = tuple_(literal(after[0], UtcDateTime), literal(after[1]))
        conditions.append(tuple_(lease.c.granted_at, lease.c.id) < place)
    # by id first: an index alone answers that
    ids = connection.execute(
        select(lease.c.id)
        .where(*conditions)
        .order_by(lease.c.granted_at.desc(), lease.c.id.desc())
        .limit(limit)
    ).scalars()
    return tuple(reversed(leases.read(connection, lease.c.id.in_(ids.all()))))


def _has_group(connection: Connection, group: str) -> ColumnElement[bool]:
    """The list of groups is a JSON text; a name in it follows a bracket or a comma."""
    where = func.instr if connection.dialect.name == "sqlite" else func.strpos
    name = json.dumps(group)
    return or_(where(lease.c.groups, f"[{name}") > 0, where(lease.c.groups, f", {name}") > 0)


def find_audit(
    connection: Connection, sought: AuditSearch, limit: int, after: int | None
) -> tuple[AuditEntry, ...]:
    """At most `limit` lines, the latest first; `after` is the number of one."""
    line = audit_entry.c
    query = select(audit_entry).order_by(line.id.desc()).limit(limit)
    for column, wanted in (
        (line.user_name, sought.user),
        (line.lease_id, sought.lease),
        (line.actor, sought.actor),
        (line.action, sought.action),
    ):
        if wanted is not None:
            query = query.where(column == wanted)
    if after is not None:
        query = query.where(line.id < after)
    # Times are no order that one can rely on, and numbers are: the times give bounds for numbers,
    # so that no more is read than an hour beside what is asked for.
    if sought.until is not None:
        last = (
            select(line.id)
            .where(line.at < _moved(sought.until, SLACK))
            .order_by(line.at.desc())
            .limit(1)
            .scalar_subquery()
        )
        query = query.where(line.id <= last, line.at < sought.until)
    if sought.since is not None:
        first = (
            select(line.id)
            .where(line.at >= _moved(sought.since, -SLACK))
            .order_by(line.at)
            .limit(1)
            .scalar_subquery()
        )
        query = query.where(line.id >= first, line.at >= sought.since)
    return tuple(audit.entry(row) for row in connection.execute(query).all())


def _moved(at: datetime, by: timedelta) -> datetime:
    try:
        return at + by
    except OverflowError:
        return at  # the end of all time
