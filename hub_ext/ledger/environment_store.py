"""The part of Ledger about environments, and the operations that change them."""

from __future__ import annotations

from datetime import UTC, datetime

from ..audit_actions import Action
from ..errors import Conflict
from ..models import (
    FINAL_STEPS,
    Environment,
    Key,
    NoticeKind,
    Operation,
    OperationKind,
    OperationStep,
)
from . import (
    audit,
    environments,
    failed_starts,
    group_operations,
    notices,
    operations,
    verdicts,
)
from .database import Database

_NOTICES = {
    OperationKind.RESET: NoticeKind.ENVIRONMENT_RESET,
    OperationKind.UNDO: NoticeKind.ENVIRONMENT_UNDONE,
}


class EnvironmentStore:
    """Generations, and resets and undos under way."""

    _database: Database
    _actor: str

    def environment(self, user: str, server: str) -> Environment:
        """The server's environment; generation 1 if it was never reset."""
        with self._database.read() as connection:
            return environments.read(connection, user, server)

    def expired_generations(self, user: str, server: str) -> tuple[int, ...]:
        """Generations whose volumes may be deleted, oldest first.

        Not in use, and two others were left after it, or it was given up.
        """
        with self._database.read() as connection:
            return environments.expired(connection, user, server)

    def give_up_generation(
        self, user: str, server: str, generation: int, now: datetime | None = None
    ) -> None:
        """Nobody goes back to a kept generation any more, and its volume may be deleted.

        Raises Conflict if it is not kept, or while a reset or an undo of the server is under way.
        """
        with self._database.write() as connection:
            latest = operations.of_server(connection, user, server)
            if latest is not None and latest.step not in FINAL_STEPS:
                raise Conflict(f"A {latest.kind.value} of this server is under way.")
            environments.give_up(connection, user, server, generation)
            audit.write(
                connection,
                at=now or datetime.now(UTC),
                actor=self._actor,
                action=Action.ENVIRONMENT_GIVE_UP,
                detail=f"generation {generation}",
                user=user,
                server=server,
            )

    def forget_generation(self, user: str, server: str, generation: int) -> None:
        """The volume of an expired generation is deleted. Raises Conflict if it was not expired."""
        with self._database.write() as connection:
            environments.forget(connection, user, server, generation)

    def environments(self) -> tuple[tuple[str, str], ...]:
        """The (user, server) of each environment that was ever reset."""
        with self._database.read() as connection:
            return environments.known(connection)

    def add_failed_start(self, user: str, server: str, generation: int, now: datetime) -> int:
        """A start in this generation ended before the server answered; how many in a row."""
        with self._database.write() as connection:
            count = failed_starts.add(connection, user, server, generation, now)
            audit.write(
                connection,
                at=now,
                actor=self._actor,
                action=Action.START_FAIL,
                detail=f"{count} in a row in generation {generation}",
                user=user,
                server=server,
            )
            return count

    def failed_starts(self, user: str, server: str) -> int:
        """How many starts in a row failed in the environment of now; a good one forgets them."""
        with self._database.read() as connection:
            return failed_starts.in_a_row(connection, user, server)

    def all_failed_starts(self) -> dict[Key, int]:
        """The same of all servers of which there are any."""
        with self._database.read() as connection:
            return failed_starts.all_in_a_row(connection)

    # -- operations

    def begin_operation(
        self,
        kind: OperationKind,
        user: str,
        server: str,
        *,
        requested_by: str,
        start_after: bool,
        user_options: dict[str, object],
        now: datetime,
        generation: int | None = None,
        reason: str = "",
        group_reset: str = "",
    ) -> Operation:
        """Write down a reset or an undo, so that a restarted service finishes it.

        `generation`: where an undo goes back to; None: to the one left last. Raises Conflict if one
        is under way for this server, if that generation is not kept, or if the `group_reset` that
        it is a part of does not go on.
        """
        with self._database.write() as connection:
            if group_reset:
                group_operations.require_turn(connection, group_reset, user)
            if kind is OperationKind.UNDO:
                found = environments.read(connection, user, server)
                generation = environments.require_kept(found, generation)
            return operations.begin(
                connection,
                kind,
                user,
                server,
                requested_by=requested_by,
                start_after=start_after,
                user_options=user_options,
                now=now,
                generation=generation,
                reason=reason,
                group_reset=group_reset,
            )

    def advance_operation(
        self, operation_id: str, step: OperationStep, now: datetime, error: str = ""
    ) -> Operation:
        """Go on to a later step. Raises NotFound, and Conflict for a step back."""
        with self._database.write() as connection:
            return operations.advance(connection, operation_id, step, now, self._actor, error)

    def switch_environment(self, operation_id: str, now: datetime) -> Environment:
        """Change the generation as the operation asks, and advance it to STARTING, in one.

        If somebody else asked for it, the user gets a notice with the reason. GPU doctor's verdict
        was about the environment that is left, and goes. A service that was killed here can call it
        again: once STARTING, nothing changes any more. Raises NotFound, and Conflict if the
        operation is final or the generation is not kept.
        """
        with self._database.write() as connection:
            found = operations.one(connection, operation_id)
            if found.step is OperationStep.STARTING:
                return environments.read(connection, found.user, found.server)
            operations.advance(connection, operation_id, OperationStep.STARTING, now, self._actor)
            verdicts.forget(connection, [(found.user, found.server)])
            if found.requested_by != found.user:
                told = {"by": found.requested_by, "reason": found.reason}
                kind = _NOTICES[found.kind]
                notices.add(
                    connection, found.user, found.server, kind, told, now, found.requested_by
                )
            if found.kind is OperationKind.UNDO:
                return environments.undo(
                    connection, found.user, found.server, found.generation, now
                )
            return environments.reset(connection, found.user, found.server, now)

    def operation(self, operation_id: str) -> Operation:
        """An operation. Raises NotFound."""
        with self._database.read() as connection:
            return operations.one(connection, operation_id)

    def operation_of(self, user: str, server: str) -> Operation | None:
        """The latest operation of a server, finished or not."""
        with self._database.read() as connection:
            return operations.of_server(connection, user, server)

    def late_operations(self, since: datetime) -> dict[Key, Operation]:
        """By (user, server), the latest of those that are under way or ended since."""
        with self._database.read() as connection:
            return operations.of_late(connection, since)

    def unfinished_operations(self) -> tuple[Operation, ...]:
        """All that are not DONE or FAILED, oldest first."""
        with self._database.read() as connection:
            return operations.unfinished(connection)
