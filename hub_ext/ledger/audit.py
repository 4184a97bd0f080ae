"""The audit trail: one line per change, written in the transaction of the change itself."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, insert, select

from ..models import AuditEntry
from .tables import audit_entry


def write(
    connection: Connection,
    *,
    at: datetime,
    actor: str,
    action: str,
    lease_id: str = "",
    detail: str = "",
) -> None:
    """Append a line."""
    connection.execute(
        insert(audit_entry).values(
            at=at, actor=actor, action=action, lease_id=lease_id, detail=detail
        )
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


def entry(row: Row[Any]) -> AuditEntry:
    """A row of the table as what it means."""
    return AuditEntry(
        number=row.id,
        at=row.at,
        actor=row.actor,
        action=row.action,
        lease_id=row.lease_id,
        detail=row.detail,
    )
