"""The part of Ledger about what is done to whole groups."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime

from ..models import GroupAction, GroupOperation, MemberState
from . import group_operations
from .database import Database


class GroupStore:
    """Resets, starts and stops of groups; each reset of a member is an operation like any other."""

    _database: Database
    _actor: str

    def begin_group_operation(
        self,
        action: GroupAction,
        group: str,
        users: Collection[str],
        *,
        requested_by: str,
        reason: str,
        now: datetime,
        due: datetime | None = None,
    ) -> GroupOperation:
        """Write down what is to be done about these users' default servers, not before `due`.

        If the same is under way for this group, that one. Raises Conflict while something else is.
        """
        with self._database.write() as connection:
            return group_operations.begin(
                connection,
                action,
                group,
                users,
                requested_by=requested_by,
                reason=reason,
                now=now,
                due=due,
            )

    def group_operation(self, operation_id: str) -> GroupOperation:
        """By its id. Raises NotFound."""
        with self._database.read() as connection:
            return group_operations.one(connection, operation_id)

    def group_operation_of(
        self, group: str, action: GroupAction | None = None
    ) -> GroupOperation | None:
        """The one under way, else the last one; of this kind, or of any."""
        with self._database.read() as connection:
            return group_operations.latest(connection, group, action)

    def unfinished_group_operations(self) -> tuple[GroupOperation, ...]:
        """All under way, and cancelled ones of which a start or stop had begun; oldest first."""
        with self._database.read() as connection:
            return group_operations.unfinished(connection)

    def groups_under_way(self) -> dict[str, GroupAction]:
        """What is being done about which group."""
        with self._database.read() as connection:
            return group_operations.running(connection)

    def begin_group_member(self, operation_id: str, user: str, now: datetime | None = None) -> None:
        """Write down, before JupyterHub is asked, that this member's start or stop begins.

        Raises Conflict if it is not to be begun (any more).
        """
        moment = now or datetime.now(UTC)
        with self._database.write() as connection:
            group_operations.begin_member(connection, operation_id, user, moment, self._actor)

    def end_group_member(
        self,
        operation_id: str,
        user: str,
        state: MemberState,
        note: str,
        now: datetime | None = None,
    ) -> bool:
        """This is the member's result; the first one stays. Whether it is. Raises NotFound."""
        moment = now or datetime.now(UTC)
        with self._database.write() as connection:
            return group_operations.end_member(
                connection, operation_id, user, state, note, moment, self._actor
            )

    def announce_group_stop(self, operation_id: str, now: datetime | None = None) -> None:
        """Tell all who have a server, and were not told yet, that it is stopped."""
        moment = now or datetime.now(UTC)
        with self._database.write() as connection:
            group_operations.announce(connection, operation_id, moment, self._actor)

    def finish_group_operation(
        self, operation_id: str, now: datetime | None = None
    ) -> GroupOperation:
        """DONE if every member has a result and it was not cancelled before."""
        moment = now or datetime.now(UTC)
        with self._database.write() as connection:
            return group_operations.finish(connection, operation_id, moment, self._actor)

    def cancel_group_operation(
        self, action: GroupAction, group: str, now: datetime | None = None, *, actor: str = ""
    ) -> GroupOperation:
        """Nobody else is begun; `actor` asked for it. Raises Conflict if none is under way."""
        moment = now or datetime.now(UTC)
        with self._database.write() as connection:
            return group_operations.cancel(connection, action, group, moment, actor or self._actor)
