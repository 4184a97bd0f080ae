"""What was made of rows, kept while the rows stay as they are.

To fetch thousands of rows is quick; to make objects of them takes ten times as long, and mostly a
few have changed since the last look. So the rows are fetched as the driver gives them, compared
with those of the last look, and made into objects only where they differ.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar, cast

from sqlalchemy import Column, Connection, Row, Select, type_coerce
from sqlalchemy.types import NullType

MOST_NAMED = 500  # rows that are asked for by their keys, and not with all others

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Kept(Generic[T]):
    """Rows as the driver gives them, and what was made of them; by key, in the query's order."""

    rows: Mapping[Any, tuple[Any, ...]] = field(default_factory=dict)
    things: Mapping[Any, T] = field(default_factory=dict)


class KeptRows(Generic[T]):
    """Reads the rows of a query, whose first column is `key`."""

    def __init__(self, key: Column[Any], query: Select[Any], make: Callable[[Row[Any]], T]) -> None:
        self._key = key
        self._query = query
        self._as_they_are = query.with_only_columns(
            *[type_coerce(column, NullType()) for column in query.selected_columns]
        )
        self._make = make

    def read(self, connection: Connection, last: Kept[T]) -> Kept[T]:
        """All of them; the very objects of `last` where nothing changed."""
        before, things = last.rows, last.things
        rows: dict[Any, tuple[Any, ...]] = {}
        changed = []
        result = connection.execute(self._as_they_are)
        for row in cast(Iterable[tuple[Any, ...]], result.cursor):
            key = row[0]
            known = before.get(key)
            if known is not None and known == row:
                rows[key] = known
            else:
                rows[key] = row
                changed.append(key)
        result.close()
        if not changed and len(rows) == len(before):
            return last
        made = self._made(connection, changed)
        return Kept(rows, {key: made[key] if key in made else things[key] for key in rows})

    def _made(self, connection: Connection, keys: list[Any]) -> Mapping[Any, T]:
        if not keys:
            return {}
        query = self._query
        if len(keys) <= MOST_NAMED:
            query = query.where(self._key.in_(keys))
        return {row[0]: self._make(row) for row in connection.execute(query)}
