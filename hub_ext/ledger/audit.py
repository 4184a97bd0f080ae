"""The audit trail: one line per change, written in the transaction of the change itself."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, insert, select

from ..audit_actions import Action
from ..models import AuditEntry
from .tables import audit_entry


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
    connection.execute(
        insert(audit_entry).values(
            at=at,
            actor=actor,
            action=action.value,
            lease_id=lease_id,
            detail=detail,
            user_name=user,
            server_name=server,
            device_uuid=device,
            group_name=group,
            reason=reason,
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
        user=row.user_name,
        server=row.server_name,
        device=row.device_uuid,
        group=row.group_name,
        reason=row.reason,
    )
