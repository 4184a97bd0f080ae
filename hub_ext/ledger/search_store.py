"""The part of the ledger that looks for leases and lines of the audit trail."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from ..models import AuditEntry, Lease
from . import audit, searches, time_line
from .audit import Following
from .database import Database
from .searches import AuditSearch, LeaseSearch
from .time_line import Tenure


class SearchStore:
    """Methods of Ledger; each is one transaction."""

    _database: Database

    def find_leases(
        self, sought: LeaseSearch, limit: int, after: tuple[datetime, str] | None = None
    ) -> tuple[Lease, ...]:
        """At most `limit` leases, the latest grant first; `after` is (granted_at, id) of one."""
        with self._database.read() as connection:
            return searches.find_leases(connection, sought, limit, after)

    def tenures(
        self,
        uuids: Collection[str],
        since: datetime,
        until: datetime,
        limit: int,
        user: str | None = None,
    ) -> tuple[Tenure, ...]:
        """Which lease had which of these devices in a period; at most `limit`, the latest first."""
        with self._database.read() as connection:
            return time_line.tenures(connection, uuids, since, until, limit, user)

    def find_audit(
        self, sought: AuditSearch, limit: int, after: int | None = None
    ) -> tuple[AuditEntry, ...]:
        """At most `limit` lines, the latest first; `after` is the number of one."""
        with self._database.read() as connection:
            return searches.find_audit(connection, sought, limit, after)

    def audit_after(self, after: int | None, limit: int) -> Following:
        """At most `limit` lines after a number, in order; None: only the highest number.

        Who goes on from the last number that they got misses none: see audit.py.
        """
        with self._database.read() as connection:
            return audit.following(connection, after, limit)
