"""Ledger: devices, leases, the queue, environments, operations and the audit trail.

Guarantees, on top of those of database.py, leases.py and environments.py:

- every method is one transaction: done as a whole and on disk, or not at all;
- every method may be called from any thread, and from several processes on one ledger;
- every method may raise LedgerUnavailable, which says what to do; then nothing was changed.

Times are aware datetimes; the caller's clock is `now`, so a test needs no sleep.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta

from ..models import (
    AuditEntry,
    Device,
    DeviceRecord,
    Environment,
    Lease,
    Operation,
    OperationKind,
    OperationStep,
    QueueEntry,
    Request,
    Snapshot,
)
from . import audit, claims, devices, environments, leases, operations, waiting
from .database import Database


class Ledger:
    """Synchronous; call it with asyncio.to_thread from an event loop."""

    def __init__(self, url: str, *, actor: str = "hub") -> None:
        """Opens nothing yet.

        `url` is SQLAlchemy's, for example sqlite:////srv/gpucamp/ledger.sqlite; `actor` is who the
        audit trail names. Raises ValueError for a SQLite ledger in memory.
        """
        self._database = Database(url)
        self._actor = actor

    def migrate(self) -> None:
        """Make or update the tables. Call it at start, before anything else; idempotent."""
        self._database.migrate()

    def close(self) -> None:
        """Close the connections."""
        self._database.close()

    # -- one hub per ledger

    def hub_id(self) -> str:
        """A random id, made at first use, that stays with the ledger."""
        with self._database.read() as connection:
            made = claims.hub_id(connection)
        if made is not None:
            return made
        with self._database.write() as connection:
            return claims.make_hub_id(connection)

    def claim(self, owner: str, now: datetime, ttl: timedelta) -> None:
        """Claim or renew the ledger for `owner` until `now + ttl`.

        An expired claim is taken over. Raises LedgerInUse, naming the owner, if another's is alive.
        """
        with self._database.write() as connection:
            claims.take(connection, owner, now, ttl)

    def release_claim(self, owner: str) -> None:
        """Give up the claim, if `owner` has it."""
        with self._database.write() as connection:
            claims.release(connection, owner)

    # -- devices

    def record_inventory(self, devices_found: Iterable[Device], now: datetime) -> None:
        """Store what an inventory found.

        A device it did not find becomes MISSING, an unhealthy one QUARANTINED; no device is
        deleted and no lease is freed. Raises ValueError if a UUID occurs twice.
        """
        found = tuple(devices_found)
        with self._database.write() as connection:
            devices.record(connection, found, now, self._actor)

    def devices(self) -> tuple[DeviceRecord, ...]:
        """All devices ever seen, in order of UUID."""
        with self._database.read() as connection:
            return devices.read(connection)

    # -- queue

    def enqueue(self, request: Request, now: datetime) -> QueueEntry:
        """Wait in the queue. A server that waits already keeps its place."""
        with self._database.write() as connection:
            return waiting.add(connection, request, now)

    def withdraw(self, user: str, server: str) -> None:
        """Leave the queue; nothing happens if the server is not in it."""
        with self._database.write() as connection:
            waiting.remove(connection, user, server)

    def queue(self) -> tuple[QueueEntry, ...]:
        """Who waits, in order of arrival."""
        with self._database.read() as connection:
            return waiting.read(connection)

    def snapshot(self, now: datetime | None = None) -> Snapshot:
        """Devices, queue and live leases; holds that are over by `now` (the clock) are ended."""
        moment = now or datetime.now(UTC)
        with self._database.read() as connection:
            seen = leases.snapshot(connection)
            if not leases.expired(connection, moment):
                return seen
        with self._database.write() as connection:
            leases.end_expired(connection, moment, self._actor)
            return leases.snapshot(connection)

    # -- leases

    def acquire(
        self,
        request: Request,
        choose: Callable[[Snapshot], Sequence[str] | None],
        now: datetime,
    ) -> Lease | None:
        """Grant the server a lease and take it out of the queue, or None: it has to wait.

        If the server has a HELD lease with enough healthy devices, that one is taken up with the
        same devices (devices beyond `request.gpus` are given back). Else `choose` gets a snapshot
        and gives the UUIDs of as many free devices as asked for, or None. It must be pure: it runs
        inside the transaction, and must not call the ledger.

        Raises Conflict if the server has a lease that is granted or running, or a held one that
        does not fit while its container is not known to be gone. Raises ValueError if `choose`
        gives devices that are not free.
        """
        with self._database.write() as connection:
            return leases.acquire(connection, request, choose, now, self._actor)

    def mark_running(self, lease_id: str, container_id: str, now: datetime) -> None:
        """The lease's container answers. Takes a HELD lease back, too (the reset was given up).

        Raises NotFound, and Conflict if the lease has ended.
        """
        with self._database.write() as connection:
            leases.mark_running(connection, lease_id, container_id, now, self._actor)

    def hold(self, lease_id: str, until: datetime, now: datetime) -> None:
        """Keep the devices for the same server until `until`, while its container is replaced.

        The hold expires only when `mark_gone` was called: time alone is no proof that nobody uses
        the devices. Raises NotFound, and Conflict if the lease has ended.
        """
        with self._database.write() as connection:
            leases.hold(connection, lease_id, until, now, self._actor)

    def mark_gone(self, lease_id: str, now: datetime) -> None:
        """The Engine says that the container of a HELD lease is gone; its hold may expire now.

        Changes nothing in any other state: those leases are ended with `end`. Raises NotFound.
        """
        with self._database.write() as connection:
            leases.mark_gone(connection, lease_id, now, self._actor)

    def end(self, lease_id: str, reason: str, now: datetime) -> None:
        """Free the devices; only after proof that the container is gone. Idempotent.

        Raises NotFound.
        """
        with self._database.write() as connection:
            leases.end(connection, lease_id, reason, now, self._actor)

    def lease(self, lease_id: str) -> Lease:
        """A lease, ended or not. Raises NotFound."""
        with self._database.read() as connection:
            return leases.one(connection, lease_id)

    def lease_of(self, user: str, server: str) -> Lease | None:
        """The server's lease that has not ended."""
        with self._database.read() as connection:
            return leases.of_server(connection, user, server)

    def leases(self, *, include_ended: bool = False) -> tuple[Lease, ...]:
        """Leases in order of grant."""
        with self._database.read() as connection:
            return leases.read(connection) if include_ended else leases.live(connection)

    # -- environments

    def environment(self, user: str, server: str) -> Environment:
        """The server's environment; generation 1 if it was never reset."""
        with self._database.read() as connection:
            return environments.read(connection, user, server)

    def expired_generations(self, user: str, server: str) -> tuple[int, ...]:
        """Generations whose volumes may be deleted, oldest first.

        Not in use, not in the history, and at least two others were left after it.
        """
        with self._database.read() as connection:
            return environments.expired(connection, user, server)

    def forget_generation(self, user: str, server: str, generation: int) -> None:
        """The volume of an expired generation is deleted. Raises Conflict if it was not expired."""
        with self._database.write() as connection:
            environments.forget(connection, user, server, generation)

    def environments(self) -> tuple[tuple[str, str], ...]:
        """The (user, server) of each environment that was ever reset."""
        with self._database.read() as connection:
            return environments.known(connection)

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
    ) -> Operation:
        """Write down a reset or an undo, so that a restarted service finishes it.

        Raises Conflict if one is under way for this server, or if there is nothing to undo.
        """
        with self._database.write() as connection:
            if kind is OperationKind.UNDO:
                environments.require_undo(environments.read(connection, user, server))
            return operations.begin(
                connection,
                kind,
                user,
                server,
                requested_by=requested_by,
                start_after=start_after,
                user_options=user_options,
                now=now,
            )

    def advance_operation(
        self, operation_id: str, step: OperationStep, now: datetime, error: str = ""
    ) -> Operation:
        """Go on to a later step. Raises NotFound, and Conflict for a step back."""
        with self._database.write() as connection:
            return operations.advance(connection, operation_id, step, now, error)

    def switch_environment(self, operation_id: str, now: datetime) -> Environment:
        """Change the generation as the operation asks, and advance it to STARTING, in one.

        A service that was killed here can call it again: once STARTING, nothing changes any more.
        Raises NotFound, and Conflict if the operation is final or there is nothing to undo.
        """
        with self._database.write() as connection:
            found = operations.one(connection, operation_id)
            if found.step is OperationStep.STARTING:
                return environments.read(connection, found.user, found.server)
            operations.advance(connection, operation_id, OperationStep.STARTING, now)
            change = environments.undo if found.kind is OperationKind.UNDO else environments.reset
            return change(connection, found.user, found.server, now)

    def operation(self, operation_id: str) -> Operation:
        """An operation. Raises NotFound."""
        with self._database.read() as connection:
            return operations.one(connection, operation_id)

    def operation_of(self, user: str, server: str) -> Operation | None:
        """The latest operation of a server, finished or not."""
        with self._database.read() as connection:
            return operations.of_server(connection, user, server)

    def unfinished_operations(self) -> tuple[Operation, ...]:
        """All that are not DONE or FAILED, oldest first."""
        with self._database.read() as connection:
            return operations.unfinished(connection)

    # -- audit

    def audit_trail(
        self, lease_id: str | None = None, *, limit: int | None = None
    ) -> tuple[AuditEntry, ...]:
        """Every change in order; of one lease, or all; at most the `limit` latest lines."""
        with self._database.read() as connection:
            return audit.read(connection, lease_id, limit)
