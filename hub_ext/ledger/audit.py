"""The audit trail: one line per change, written in the transaction of the change itself.

Guarantees: who has read all lines up to a number has missed none of them, ever. A number is taken
inside a write, and writes run alone: on PostgreSQL the lock row is locked before the number is
taken, and unlocked only when the line is there for everybody to see; on SQLite BEGIN IMMEDIATE does
both. So no lower number appears later, and a number that does not appear belongs to a write that
was given up. What was deleted as too old can be told from what never was (`pruned`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, delete, func, insert, select, update

from ..audit_actions import Action
from ..models import AuditEntry, Key
from .tables import audit_entry, fact

_PRUNED = "audit_pruned"  # the highest number of a line that was deleted


def write(
    connection: Connection,
    *,
    at: datetime,
    actor: str,
    action: Action,
    lease_id: str = "",
    detail: str = "",
    user: str = "",
    server: str = "",
    device: str = "",
    group: str = "",
    reason: str = "",
) -> None:
    """Append a line: who did what, in words; about whose server, which device or group; why.

    `user` and `server` say together which server; a line about no server has no user. `reason` is
    in the words of whoever asked for it.
    """
    write_all(
        connection,
        [(user, server)],
        at=at,
        actor=actor,
        action=action,
        lease_id=lease_id,
        detail=detail,
        device=device,
        group=group,
        reason=reason,
    )


def write_all(
    connection: Connection,
    servers: Sequence[Key],
    *,
    at: datetime,
    actor: str,
    action: Action,
    lease_id: str = "",
    detail: str = "",
    device: str = "",
    group: str = "",
    reason: str = "",
) -> None:
    """The same about several servers: a line for each."""
    shared = {
        "at": at,
        "actor": actor,
        "action": action.value,
        "lease_id": lease_id,
        "detail": detail,
        "device_uuid": device,
        "group_name": group,
        "reason": reason,
    }
    connection.execute(
        insert(audit_entry),
        [{**shared, "user_name": user, "server_name": server} for user, server in servers],
    )


def read(
    connection: Connection,
    lease_id: str | None = None,
    limit: int | None = None,
    before: int | None = None,
) -> tuple[AuditEntry, ...]:
    """The trail in order; of one lease, or all; at most the `limit` latest lines (before one)."""
    query = select(audit_entry).order_by(audit_entry.c.id.desc())
    if lease_id is not None:
        query = query.where(audit_entry.c.lease_id == lease_id)
    if before is not None:
        query = query.where(audit_entry.c.id < before)
    if limit is not None:
        query = query.limit(limit)
    return tuple(entry(row) for row in reversed(connection.execute(query).all()))


@dataclass(frozen=True, slots=True)
class Following:
    """Lines after a number, in order. `gap`: others after it were deleted, or it never was.

    `latest` is the highest number there is.
    """

    entries: tuple[AuditEntry, ...]
    latest: int
    gap: bool


def following(connection: Connection, after: int | None, limit: int) -> Following:
    """At most `limit` lines after a number; None: none, only the highest number."""
    pruned = _pruned(connection) or 0
    highest = connection.execute(select(func.max(audit_entry.c.id))).scalar() or 0
    latest = max(pruned, highest)
    if after is None:
        return Following((), latest, False)
    if not pruned <= after <= latest:
        return Following((), latest, True)
    query = select(audit_entry).where(audit_entry.c.id > after).order_by(audit_entry.c.id)
    rows = connection.execute(query.limit(limit)).all()
    return Following(tuple(entry(row) for row in rows), latest, False)


def delete_where(connection: Connection, *conditions: ColumnElement[bool]) -> None:
    """Delete lines for good, and keep in mind up to where."""
    gone = connection.execute(select(func.max(audit_entry.c.id)).where(*conditions)).scalar()
    if gone is None:
        return
    connection.execute(delete(audit_entry).where(*conditions))
    before = _pruned(connection)
    if before is None:
        connection.execute(insert(fact).values(name=_PRUNED, value=str(gone)))
    elif before < gone:
        connection.execute(update(fact).where(fact.c.name == _PRUNED).values(value=str(gone)))


def _pruned(connection: Connection) -> int | None:
    found = connection.execute(select(fact.c.value).where(fact.c.name == _PRUNED)).scalar()
    return None if found is None else int(found)


def entry(row: Row[Any]) -> AuditEntry:
    """A row of the table as what it means."""
    return AuditEntry(
        number=row.id,
        at=row.at,
        actor=row.actor,
        action=row.action,
        lease_id=row.lease_id,
        detail=row.detail,
        user=row.user_name,
        server=row.server_name,
        device=row.device_uuid,
        group=row.group_name,
        reason=row.reason,
    )
