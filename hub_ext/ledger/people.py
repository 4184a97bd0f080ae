"""Who the ledger knows: users with a lease, a place in the line or an environment of their own.

Names are in the order of Python, whatever the database's language.
"""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Column, ColumnElement, Connection, Select, func, select

from .tables import environment, lease, queue_entry

MOST_NAMED = 100  # users in a query

_NAMES: tuple[Column[str], ...] = (
    lease.c.user_name,
    queue_entry.c.user_name,
    environment.c.user_name,
)


def names(connection: Connection, after: str, limit: int) -> tuple[str, ...]:
    """The first `limit` of them that come after this one ("": all do)."""
    found: set[str] = set()
    for column in _NAMES:
        query = _walk(column)
        if connection.dialect.name == "sqlite":  # which compares bytes: the order of Python
            query = select(column).where(column > after).distinct().order_by(column).limit(limit)
        found.update(name for name in connection.execute(query).scalars() if name > after)
    return tuple(sorted(found)[:limit])


def _walk(column: Column[str]) -> Select[str]:
    """All names, each found in the index behind the one before: PostgreSQL's DISTINCT reads every
    row, and its order is that of the database's language.
    """
    walked = select(func.min(column).label("name")).cte("walked", recursive=True)
    following = select(func.min(column)).where(column > walked.c.name).scalar_subquery()
    walked = walked.union_all(select(following).where(walked.c.name.is_not(None)))
    return select(walked.c.name).where(walked.c.name.is_not(None))


def servers(connection: Connection, users: Collection[str]) -> set[tuple[str, str]]:
    """The (user, server) of these with an environment that was reset once, or a place in line."""
    found: set[tuple[str, str]] = set()
    for table in (environment, queue_entry):
        query = select(table.c.user_name, table.c.server_name)
        rows = connection.execute(query.where(about(connection, table.c.user_name, users))).all()
        found.update((row.user_name, row.server_name) for row in rows)
    wanted = set(users)
    return {key for key in found if key[0] in wanted}


def about(
    connection: Connection, column: Column[str], users: Collection[str]
) -> ColumnElement[bool]:
    """Holds for the rows of these users, and if they are many perhaps for others, too.

    A thousand names in a query of SQLite, which compares bytes, cost more than the rows that they
    keep away.
    """
    if len(users) <= MOST_NAMED or connection.dialect.name != "sqlite":
        return column.in_(list(users))
    return column.between(min(users), max(users))
