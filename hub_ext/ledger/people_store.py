"""The part of Ledger about users: who there is, and what they used."""

from __future__ import annotations

from collections.abc import Collection
from datetime import date, datetime

from ..models import Usage
from . import accounting, people
from .database import Database


class PeopleStore:
    """Only looks."""

    _database: Database

    def users(self, *, after: str = "", limit: int) -> tuple[str, ...]:
        """The first `limit` users, by name, that the ledger knows and that come after this one."""
        with self._database.read() as connection:
            return people.names(connection, after, limit)

    def servers_of(self, users: Collection[str]) -> set[tuple[str, str]]:
        """Their servers with an environment that was reset once, or that wait in line."""
        with self._database.read() as connection:
            return people.servers(connection, users)

    def device_seconds_of(
        self, users: Collection[str], since: datetime, now: datetime
    ) -> dict[str, float]:
        """What each of these has used in [since, now], live leases included."""
        with self._database.read() as connection:
            return accounting.seconds_by_user(connection, users, since, now)

    def usage_of(self, user: str, since: date, until: date, now: datetime) -> tuple[Usage, ...]:
        """As `usage`, of one user alone."""
        with self._database.read() as connection:
            return accounting.by_days(connection, since, until, now, user=user)
