"""Notices: what a user has not read yet about their servers. At most 20 per server are kept."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, select

from ..audit_actions import Action
from ..models import Key, Notice, NoticeKind
from . import audit
from .tables import notice

UNREAD_PER_SERVER = 20
USERS_AT_ONCE = 500  # in one statement: databases limit its parameters


def add(
    connection: Connection,
    user: str,
    server: str,
    kind: NoticeKind,
    detail: Mapping[str, str],
    now: datetime,
    actor: str,
) -> Notice:
    """Tell a user; the oldest of that server goes when there are too many."""
    mine = (notice.c.user_name == user) & (notice.c.server_name == server)
    number = connection.execute(
        insert(notice)
        .values(
            user_name=user,
            server_name=server,
            at=now,
            kind=kind.value,
            detail=json.dumps(dict(detail)),
        )
        .returning(notice.c.id)
    ).scalar_one()
    last_kept = connection.execute(
        select(notice.c.id)
        .where(mine)
        .order_by(notice.c.id.desc())
        .offset(UNREAD_PER_SERVER - 1)
        .limit(1)
    ).scalar()
    if last_kept is not None:
        connection.execute(delete(notice).where(mine, notice.c.id < last_kept))
    audit.write(
        connection,
        at=now,
        actor=actor,
        action=Action.NOTICE_ADD,
        detail=kind.value,
        user=user,
        server=server,
        device=detail.get("device", ""),
        reason=detail.get("reason", ""),
    )
    return Notice(number, user, server, now, kind, dict(detail))


def add_all(
    connection: Connection,
    servers: Sequence[Key],
    kind: NoticeKind,
    detail: Mapping[str, str],
    now: datetime,
    actor: str,
) -> None:
    """The same for the users of several servers, however many, in a few statements."""
    if not servers:
        return
    told = {"at": now, "kind": kind.value, "detail": json.dumps(dict(detail))}
    connection.execute(
        insert(notice),
        [{**told, "user_name": user, "server_name": server} for user, server in servers],
    )
    age = func.row_number().over(
        partition_by=(notice.c.user_name, notice.c.server_name), order_by=notice.c.id.desc()
    )
    for start in range(0, len(servers), USERS_AT_ONCE):
        users = {user for user, _server in servers[start : start + USERS_AT_ONCE]}
        aged = select(notice.c.id, age.label("age")).where(notice.c.user_name.in_(users)).subquery()
        too_many = select(aged.c.id).where(aged.c.age > UNREAD_PER_SERVER)
        connection.execute(delete(notice).where(notice.c.id.in_(too_many)))
    audit.write_all(
        connection,
        servers,
        at=now,
        actor=actor,
        action=Action.NOTICE_ADD,
        detail=kind.value,
        device=detail.get("device", ""),
        reason=detail.get("reason", ""),
    )


def read(connection: Connection, user: str, server: str | None = None) -> tuple[Notice, ...]:
    """What the user has not read, oldest first; of one server, or of all (None)."""
    query = select(notice).where(notice.c.user_name == user).order_by(notice.c.id)
    if server is not None:
        query = query.where(notice.c.server_name == server)
    return tuple(_notice(row) for row in connection.execute(query))


def mark_read(
    connection: Connection, user: str, server: str, up_to_id: int, now: datetime, actor: str
) -> None:
    """The user has read those up to this one: they are not kept."""
    found = connection.execute(
        delete(notice).where(
            notice.c.user_name == user,
            notice.c.server_name == server,
            notice.c.id <= up_to_id,
        )
    )
    if found.rowcount:
        audit.write(
            connection,
            at=now,
            actor=actor,
            action=Action.NOTICE_READ,
            detail=f"up to {up_to_id}",
            user=user,
            server=server,
        )


def forget(
    connection: Connection,
    user: str,
    server: str,
    kind: NoticeKind,
    device_uuid: str = "",
    occasion: str = "",
) -> None:
    """Take back unread ones (about a device, or of an occasion) that do not hold any more."""
    for each in read(connection, user, server):
        if (
            each.kind is kind
            and each.detail.get("device", "") == device_uuid
            and occasion in ("", each.detail.get("occasion"))
        ):
            connection.execute(delete(notice).where(notice.c.id == each.id))


def _notice(row: Row[Any]) -> Notice:
    return Notice(
        id=row.id,
        user=row.user_name,
        server=row.server_name,
        at=row.at,
        kind=NoticeKind(row.kind),
        detail=json.loads(row.detail),
    )
