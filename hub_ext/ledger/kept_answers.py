"""Answers to requests that had an Idempotency-Key, kept so that the same request gets the same one.

Guarantees: a key of a caller stands for one request; its answer is kept for KEPT, also over a
restart. A caller has at most MOST keys: more of theirs push out their oldest.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, delete, func, insert, select, update

from ..models import KeptAnswer
from .tables import kept_answer

KEPT = timedelta(hours=24)
MOST = 1000


def begin(
    connection: Connection, caller: str, key: str, request: str, now: datetime
) -> KeptAnswer | None:
    """Write down that the request is begun (None), or what is known of the key already."""
    forget_old(connection, now)
    row = connection.execute(select(kept_answer).where(*_is(caller, key))).one_or_none()
    if row is not None:
        return KeptAnswer(request=row.request, status=row.status, body=row.body)
    own = kept_answer.c.caller == caller
    count = connection.execute(select(func.count()).where(own)).scalar() or 0
    if count >= MOST:
        oldest = select(kept_answer.c.key).where(own).order_by(kept_answer.c.at)
        too_many = oldest.limit(count - MOST + 1)
        connection.execute(delete(kept_answer).where(own, kept_answer.c.key.in_(too_many)))
    connection.execute(
        insert(kept_answer).values(
            caller=caller, key=key, request=request, at=now, status=None, body=""
        )
    )
    return None


def keep(connection: Connection, caller: str, key: str, status: int, body: str) -> None:
    """The answer to the request that was begun."""
    connection.execute(
        update(kept_answer).where(*_is(caller, key)).values(status=status, body=body)
    )


def forget(connection: Connection, caller: str, key: str) -> None:
    """The request was refused: it may come again with this key."""
    connection.execute(delete(kept_answer).where(*_is(caller, key)))


def forget_old(connection: Connection, now: datetime) -> None:
    """Those whose time is over."""
    connection.execute(delete(kept_answer).where(kept_answer.c.at < now - KEPT))


def _is(caller: str, key: str) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return kept_answer.c.caller == caller, kept_answer.c.key == key
