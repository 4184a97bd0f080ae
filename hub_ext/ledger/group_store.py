"""The part of Ledger about resets of whole groups."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime

from ..models import GroupReset
from . import group_resets
from .database import Database


class GroupStore:
    """Resets of groups; each member's is an operation like any other."""

    _database: Database
    _actor: str

    def begin_group_reset(
        self, group: str, users: Collection[str], *, requested_by: str, reason: str, now: datetime
    ) -> GroupReset:
        """Write down a reset of these users' default servers; if one is under way, that one."""
        with self._database.write() as connection:
            return group_resets.begin(
                connection, group, users, requested_by=requested_by, reason=reason, now=now
            )

    def group_reset(self, group_reset_id: str) -> GroupReset:
        """A reset of a group. Raises NotFound."""
        with self._database.read() as connection:
            return group_resets.one(connection, group_reset_id)

    def group_reset_of(self, group: str) -> GroupReset | None:
        """The one under way, else the last one."""
        with self._database.read() as connection:
            return group_resets.latest(connection, group)

    def running_group_resets(self) -> tuple[GroupReset, ...]:
        """All under way, oldest first."""
        with self._database.read() as connection:
            return group_resets.running(connection)

    def refuse_member(
        self, group_reset_id: str, user: str, why: str, now: datetime | None = None
    ) -> None:
        """This member cannot be reset, and is not tried again. Raises NotFound."""
        moment = now or datetime.now(UTC)
        with self._database.write() as connection:
            group_resets.refuse(connection, group_reset_id, user, why, moment, self._actor)

    def finish_group_reset(self, group_reset_id: str, now: datetime | None = None) -> GroupReset:
        """DONE if every member has a result and it was not cancelled before."""
        with self._database.write() as connection:
            moment = now or datetime.now(UTC)
            return group_resets.finish(connection, group_reset_id, moment, self._actor)

    def cancel_group_reset(
        self, group: str, now: datetime | None = None, *, actor: str = ""
    ) -> GroupReset:
        """Nobody else is begun; `actor` asked for it. Raises Conflict if none is under way."""
        moment = now or datetime.now(UTC)
        with self._database.write() as connection:
            return group_resets.cancel(connection, group, moment, actor or self._actor)
