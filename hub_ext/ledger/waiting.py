"""The queue of requests: in order of arrival, one place per server.

Guarantees: a server that asks again keeps its place; no restart of a hub empties the queue; a place
that an admin gave goes with the entry, and what was kept for it alone goes with it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, delete, insert, select, update

from ..audit_actions import Action
from ..errors import NotFound
from ..i18n import _
from ..models import NoticeKind, QueueEntry, QueueMove, Request
from ..queue_moves import released
from . import audit, facts, notices
from .kept_rows import Kept, KeptRows
from .tables import queue_entry
from .texts import mapping, names, names_text


def add(
    connection: Connection,
    request: Request,
    now: datetime,
    actor: str,
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
        .where(_is(request.user, request.server))
        .values(**values)
        .returning(queue_entry)
    ).one_or_none()
    action = Action.QUEUE_JOIN if row is None else Action.QUEUE_CHANGE
    if row is None:
        row = connection.execute(
            insert(queue_entry)
            .values(user_name=request.user, server_name=request.server, enqueued_at=now, **values)
            .returning(queue_entry)
        ).one()
    entry = _entry(row)
    _note(connection, entry, action, f"{request.gpus} devices", "", now, actor)
    return entry


def remove(connection: Connection, user: str, server: str) -> QueueEntry | None:
    """Take a server out of the queue, if it is in it. The caller writes the audit trail."""
    row = connection.execute(
        delete(queue_entry).where(_is(user, server)).returning(queue_entry)
    ).one_or_none()
    if row is None:
        return None
    if row.boost:
        _release(connection)
    return _entry(row)


def leave(connection: Connection, user: str, server: str, now: datetime, actor: str) -> None:
    """Take a server out of the queue that gets nothing, if it is in it."""
    entry = remove(connection, user, server)
    if entry is not None:
        _note(connection, entry, Action.QUEUE_LEAVE, "", "", now, actor)


def _is(user: str, server: str) -> ColumnElement[bool]:
    return (queue_entry.c.user_name == user) & (queue_entry.c.server_name == server)


def one(connection: Connection, user: str, server: str) -> QueueEntry:
    """Raises NotFound if it does not wait."""
    row = connection.execute(select(queue_entry).where(_is(user, server))).one_or_none()
    if row is None:
        raise NotFound(_("This server does not wait in line."))
    return _entry(row)


def move(
    connection: Connection,
    entry: QueueEntry,
    boosts: Mapping[int, int],
    reason: str,
    now: datetime,
    actor: str,
    position: int,
) -> None:
    """Give an entry a place in the line: `boosts` are all that there are then, by sequence."""
    moved = queue_entry.c.sequence == entry.sequence
    values = {"moved_at": now, "moved_by": actor, "move_reason": reason}
    connection.execute(update(queue_entry).where(moved).values(**values))
    for sequence, boost in boosts.items():
        connection.execute(
            update(queue_entry).where(queue_entry.c.sequence == sequence).values(boost=boost)
        )
    _note(connection, entry, Action.QUEUE_MOVE, f"to place {position}", reason, now, actor)


def undo_move(connection: Connection, entry: QueueEntry, now: datetime, actor: str) -> None:
    """Let its turn come as if nobody had moved it."""
    values = {"boost": 0, "moved_at": None, "moved_by": "", "move_reason": ""}
    connection.execute(
        update(queue_entry).where(queue_entry.c.sequence == entry.sequence).values(**values)
    )
    _release(connection)
    _note(connection, entry, Action.QUEUE_UNDO_MOVE, "", "", now, actor)


def _release(connection: Connection) -> None:
    """Who kept a place only for somebody who was moved, and is gone, has an ordinary one again."""
    rows = connection.execute(
        select(queue_entry.c.sequence, queue_entry.c.boost, queue_entry.c.moved_at).where(
            queue_entry.c.boost > 0
        )
    ).all()
    free = released(
        {row.sequence: row.boost for row in rows},
        [row.sequence for row in rows if row.moved_at is not None],
    )
    if free:
        connection.execute(
            update(queue_entry).where(queue_entry.c.sequence.in_(free)).values(boost=0)
        )


def cancel(
    connection: Connection, entry: QueueEntry, reason: str, now: datetime, actor: str
) -> None:
    """Take a server out of the line; its user is told why."""
    user, server = entry.request.user, entry.request.server
    remove(connection, user, server)
    told = {"by": actor, "reason": reason, "occasion": str(entry.sequence)}
    notices.add(connection, user, server, NoticeKind.QUEUE_CANCELLED, told, now, actor)
    _note(connection, entry, Action.QUEUE_CANCEL, "", reason, now, actor)


def _note(
    connection: Connection,
    entry: QueueEntry,
    action: Action,
    what: str,
    reason: str,
    now: datetime,
    actor: str,
) -> None:
    user, server = entry.request.user, entry.request.server
    detail = ": ".join(part for part in (f"{user}/{server}", what, reason) if part)
    audit.write(
        connection,
        at=now,
        actor=actor,
        action=action,
        detail=detail,
        user=user,
        server=server,
        reason=reason,
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
        notices.add(connection, user, server, NoticeKind.START_LOST, {"reason": ""}, now, actor)
        audit.write(
            connection,
            at=now,
            actor=actor,
            action=Action.DROP_FROM_QUEUE,
            detail=f"{user}/{server}: its hub ended while it waited",
            user=user,
            server=server,
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
        row.boost,
        None if row.moved_at is None else QueueMove(row.moved_at, row.moved_by, row.move_reason),
    )


_entries = KeptRows(
    queue_entry.c.sequence, select(queue_entry).order_by(queue_entry.c.sequence), _entry
)
