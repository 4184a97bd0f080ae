"""Who the ledger knows: users with a lease, a place in the line or an environment of their own.

Names are in the order of Python, whatever the database's language.
"""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Column, ColumnElement, Connection, select

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
        name = _in_order(connection, column)
        query = select(name).where(name > after).distinct().order_by(name).limit(limit)
        found.update(connection.execute(query).scalars())
    return tuple(sorted(found)[:limit])


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


def _in_order(connection: Connection, column: Column[str]) -> ColumnElement[str]:
    # SQLite compares bytes; so does "C", and UTF-8 keeps the order of code points
    return column.collate("C") if connection.dialect.name == "postgresql" else column
