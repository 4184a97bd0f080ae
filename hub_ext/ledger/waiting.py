"""The queue of requests: in order of arrival, one place per server."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select, update

from ..models import QueueEntry, Request
from .tables import queue_entry


def add(connection: Connection, request: Request, now: datetime) -> QueueEntry:
    """Queue a request. A server that waits already keeps its place, with the new number of GPUs."""
    row = connection.execute(
        select(queue_entry).where(
            queue_entry.c.user_name == request.user, queue_entry.c.server_name == request.server
        )
    ).one_or_none()
    if row is not None:
        connection.execute(
            update(queue_entry)
            .where(queue_entry.c.sequence == row.sequence)
            .values(gpus=request.gpus)
        )
        return QueueEntry(request=request, sequence=row.sequence, enqueued_at=row.enqueued_at)
    sequence = connection.execute(
        insert(queue_entry)
        .values(
            user_name=request.user,
            server_name=request.server,
            gpus=request.gpus,
            enqueued_at=now,
        )
        .returning(queue_entry.c.sequence)
    ).scalar_one()
    return QueueEntry(request=request, sequence=sequence, enqueued_at=now)


def remove(connection: Connection, user: str, server: str) -> None:
    """Take a server out of the queue, if it is in it."""
    connection.execute(
        delete(queue_entry).where(
            queue_entry.c.user_name == user, queue_entry.c.server_name == server
        )
    )


def read(connection: Connection) -> tuple[QueueEntry, ...]:
    """The queue in order of arrival."""
    rows = connection.execute(select(queue_entry).order_by(queue_entry.c.sequence))
    return tuple(_entry(row) for row in rows)


def _entry(row: Row[Any]) -> QueueEntry:
    return QueueEntry(
        request=Request(user=row.user_name, server=row.server_name, gpus=row.gpus),
        sequence=row.sequence,
        enqueued_at=row.enqueued_at,
    )
