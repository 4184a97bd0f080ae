"""Moves a ledger to another database: from SQLite to PostgreSQL, or back.

Guarantees: all or nothing; only into a ledger that holds nothing yet; only while no hub works with
the source; the source is left as it is.
"""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import Connection, func, insert, select, text

from ..errors import Conflict
from .database import Database
from .tables import claim, fact, metadata

_AT_ONCE = 1000


def move(source_url: str, target_url: str) -> dict[str, int]:
    """Copy everything; how many rows of each table.

    Raises Conflict if a hub works with the source or the target is not empty, LedgerUnavailable,
    ValueError for a URL that is none.
    """
    source, target = Database(source_url), Database(target_url)
    try:
        source.migrate()
        target.migrate()
        with source.write() as old, target.write() as new:
            _refuse(old, new, source.place, target.place)
            return _copy(old, new)
    finally:
        source.close()
        target.close()


def _refuse(old: Connection, new: Connection, source: str, target: str) -> None:
    at_work = old.execute(select(claim).where(claim.c.expires_at > datetime.now(UTC))).first()
    if at_work is not None:
        raise Conflict(f"The hub {at_work.owner} works with the ledger {source}. Stop it first.")
    for table in metadata.sorted_tables:
        query = select(func.count()).select_from(table)
        if table is fact:
            query = query.where(fact.c.name != "lock")
        if new.execute(query).scalar_one():
            raise Conflict(
                f"The ledger {target} is in use already ({table.name} has rows). Give an empty "
                "database."
            )


def _copy(old: Connection, new: Connection) -> dict[str, int]:
    for connection in (old, new):
        if connection.dialect.name == "postgresql":
            # one of them stands still while the other is at work
            connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
    counts = {}
    new.execute(fact.delete())  # its lock is there already; ours comes along
    for table in metadata.sorted_tables:
        if table is claim:
            continue
        counts[table.name] = 0
        for rows in old.execute(select(table)).mappings().partitions(_AT_ONCE):
            new.execute(insert(table), [dict(row) for row in rows])
            counts[table.name] += len(rows)
    if new.dialect.name == "postgresql":
        _go_on_counting(new)
    return counts


def _go_on_counting(new: Connection) -> None:
    """Numbers that the database gives begin after those that were copied."""
    for table in metadata.sorted_tables:
        column = table.autoincrement_column
        if column is not None:
            new.execute(
                text(
                    f"SELECT setval(pg_get_serial_sequence('{table.name}', '{column.name}'), "  # noqa: S608 - ours
                    f"greatest((SELECT max({column.name}) FROM {table.name}), 1))"
                )
            )
