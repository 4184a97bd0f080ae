"""How often in a row a server did not come to answer in its environment.

Guarantees: a start that did answer, and a change of the environment, begin the count anew.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ColumnElement, Connection, delete, func, insert, select

from ..models import Key
from . import environments
from .tables import environment, failed_starts


def add(connection: Connection, user: str, server: str, generation: int, now: datetime) -> int:
    """One more in this generation; how many in a row that makes."""
    before = connection.execute(
        select(failed_starts.c.count).where(
            *_is(user, server), failed_starts.c.generation == generation
        )
    ).scalar()
    count = (before or 0) + 1
    forget(connection, user, server)
    connection.execute(
        insert(failed_starts).values(
            user_name=user, server_name=server, generation=generation, count=count, at=now
        )
    )
    return count


def forget(connection: Connection, user: str, server: str) -> None:
    """The server answers."""
    connection.execute(delete(failed_starts).where(*_is(user, server)))


def in_a_row(connection: Connection, user: str, server: str) -> int:
    """How many there were in the environment of now since it last answered."""
    generation = environments.read(connection, user, server).generation
    return (
        connection.execute(
            select(failed_starts.c.count).where(
                *_is(user, server), failed_starts.c.generation == generation
            )
        ).scalar()
        or 0
    )


def all_in_a_row(connection: Connection) -> dict[Key, int]:
    """The same of all servers that have any."""
    same = (environment.c.user_name == failed_starts.c.user_name) & (
        environment.c.server_name == failed_starts.c.server_name
    )
    generation = func.coalesce(environment.c.generation, 1)  # what was never reset is in its first
    found = connection.execute(
        select(failed_starts.c.user_name, failed_starts.c.server_name, failed_starts.c.count)
        .select_from(failed_starts.outerjoin(environment, same))
        .where(failed_starts.c.generation == generation)
    )
    return {(user, server): count for user, server, count in found}


def _is(user: str, server: str) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return failed_starts.c.user_name == user, failed_starts.c.server_name == server
