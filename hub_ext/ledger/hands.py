"""Raised hands. Whoever raises theirs again keeps their place among those who wait for help."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select, update

from ..audit_actions import Action
from ..hands import Hand
from . import audit, texts
from .tables import hand


def up(
    connection: Connection,
    user: str,
    server: str,
    text: str,
    groups: Collection[str],
    now: datetime,
) -> Hand:
    """Raise a user's hand, or say something else with the one that is up."""
    before = read(connection, user)
    after = Hand(user, server, before.raised_at if before else now, text, tuple(groups))
    if after == before:
        return after
    values = {
        "server_name": server,
        "raised_at": after.raised_at,
        "text": text,
        "groups": texts.names_text(after.groups),
    }
    if before is None:
        connection.execute(insert(hand).values(user_name=user, **values))
    else:
        connection.execute(update(hand).where(hand.c.user_name == user).values(**values))
    audit.write(connection, at=now, actor=user, action=Action.HAND_RAISE, user=user, server=server)
    return after


def down(connection: Connection, user: str, now: datetime, actor: str) -> bool:
    """Lower a user's hand. Whether it was up."""
    before = read(connection, user)
    if before is None:
        return False
    connection.execute(delete(hand).where(hand.c.user_name == user))
    audit.write(
        connection,
        at=now,
        actor=actor,
        action=Action.HAND_LOWER,
        user=user,
        server=before.server,
    )
    return True


def read(connection: Connection, user: str) -> Hand | None:
    """A user's hand, if it is up."""
    row = connection.execute(select(hand).where(hand.c.user_name == user)).one_or_none()
    return None if row is None else _hand(row)


def read_all(connection: Connection) -> tuple[Hand, ...]:
    """All that are up, the one that was raised first first."""
    rows = connection.execute(select(hand).order_by(hand.c.raised_at, hand.c.user_name))
    return tuple(_hand(row) for row in rows)


def forget(connection: Connection, users: Iterable[str]) -> None:
    """These users are no more."""
    for user in users:
        connection.execute(delete(hand).where(hand.c.user_name == user))


def forget_old(connection: Connection, before: datetime) -> None:
    """Forget hands that nobody has looked after since."""
    connection.execute(delete(hand).where(hand.c.raised_at < before))


def _hand(row: Row[Any]) -> Hand:
    return Hand(row.user_name, row.server_name, row.raised_at, row.text, texts.names(row.groups))
