"""The queue of requests: in order of arrival, one place per server.

Guarantees: a server that asks again keeps its place; no restart of a hub empties the queue.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select, update

from ..models import NoticeKind, QueueEntry, Request
from . import audit, facts, notices
from .kept_rows import Kept, KeptRows
from .tables import queue_entry
from .texts import mapping, names, names_text


def add(
    connection: Connection,
    request: Request,
    now: datetime,
    waiter: str = "",
    user_options: Mapping[str, object] | None = None,
) -> QueueEntry:
    """Queue a request. A server that waits already keeps its place, with what it asks for now."""
    options = dict(user_options or {})
    values = {
        "gpus": request.gpus,
        "model": request.model,
        "min_memory_bytes": request.min_memory_bytes,
        "share": request.share,
        "groups": names_text(request.groups),
        "priority": request.priority,
        "term_seconds": request.term.total_seconds() if request.term is not None else None,
        "waiter": waiter,
        "user_options": json.dumps(options),
    }
    row = connection.execute(
        update(queue_entry)
        .where(queue_entry.c.user_name == request.user, queue_entry.c.server_name == request.server)
        .values(**values)
        .returning(queue_entry.c.sequence, queue_entry.c.enqueued_at)
    ).one_or_none()
    if row is None:
        row = connection.execute(
            insert(queue_entry)
            .values(user_name=request.user, server_name=request.server, enqueued_at=now, **values)
            .returning(queue_entry.c.sequence, queue_entry.c.enqueued_at)
        ).one()
    return QueueEntry(request, row.sequence, row.enqueued_at, waiter, options)


def remove(connection: Connection, user: str, server: str) -> None:
    """Take a server out of the queue, if it is in it."""
    connection.execute(
        delete(queue_entry).where(
            queue_entry.c.user_name == user, queue_entry.c.server_name == server
        )
    )


def read(connection: Connection) -> tuple[QueueEntry, ...]:
    """The queue in order of arrival."""
    return tuple(read_again(connection, Kept()).things.values())


def read_again(connection: Connection, last: Kept[QueueEntry]) -> Kept[QueueEntry]:
    """The queue in order of arrival, by sequence."""
    return _entries.read(connection, last)


def drop_orphans(
    connection: Connection, before: datetime, now: datetime, actor: str
) -> tuple[QueueEntry, ...]:
    """Withdraw what an earlier run of the hub left, if the present one began by `before`."""
    run = facts.run(connection)
    if run.since > before:
        return ()
    rows = connection.execute(
        select(queue_entry).where(queue_entry.c.waiter != run.name).order_by(queue_entry.c.sequence)
    )
    dropped = tuple([_entry(row) for row in rows])
    for entry in dropped:
        user, server = entry.request.user, entry.request.server
        remove(connection, user, server)
        notices.add(connection, user, server, NoticeKind.START_LOST, {"reason": ""}, now)
        audit.write(
            connection,
            at=now,
            actor=actor,
            action="drop from queue",
            detail=f"{user}/{server}: its hub ended while it waited",
        )
    return dropped


def _entry(row: Row[Any]) -> QueueEntry:
    term = row.term_seconds
    return QueueEntry(
        Request(
            row.user_name,
            row.server_name,
            row.gpus,
            row.model,
            row.min_memory_bytes,
            row.share,
            names(row.groups),
            row.priority,
            None if term is None else timedelta(seconds=term),
        ),
        row.sequence,
        row.enqueued_at,
        row.waiter,
        mapping(row.user_options),
    )


_entries = KeptRows(
    queue_entry.c.sequence, select(queue_entry).order_by(queue_entry.c.sequence), _entry
)
