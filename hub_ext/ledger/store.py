"""Ledger: the only SQL. (Signatures are the contract; bodies follow.)"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta

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


class Ledger:
    """Synchronous and thread-safe; call it with asyncio.to_thread from an event loop."""

    def __init__(self, url: str) -> None: ...
    def migrate(self) -> None: ...
    def close(self) -> None: ...

    # one hub per ledger
    def hub_id(self) -> str: ...  # random, made at first use, stays
    def claim(self, owner: str, now: datetime, ttl: timedelta) -> None: ...  # or LedgerInUse
    def release_claim(self, owner: str) -> None: ...

    # devices
    def record_inventory(self, devices: Iterable[Device], now: datetime) -> None: ...
    def devices(self) -> tuple[DeviceRecord, ...]: ...

    # queue
    def enqueue(self, request: Request, now: datetime) -> QueueEntry: ...  # idempotent
    def withdraw(self, user: str, server: str) -> None: ...
    def queue(self) -> tuple[QueueEntry, ...]: ...
    def snapshot(self) -> Snapshot: ...

    # leases
    def acquire(
        self,
        request: Request,
        choose: Callable[[Snapshot], Sequence[str] | None],
        now: datetime,
    ) -> Lease | None: ...
    def mark_running(self, lease_id: str, container_id: str, now: datetime) -> None: ...
    def hold(self, lease_id: str, until: datetime, now: datetime) -> None: ...
    def end(self, lease_id: str, reason: str, now: datetime) -> None: ...  # idempotent
    def lease(self, lease_id: str) -> Lease: ...  # or NotFound
    def lease_of(self, user: str, server: str) -> Lease | None: ...  # not ended
    def leases(self, *, include_ended: bool = False) -> tuple[Lease, ...]: ...

    # environments
    def environment(self, user: str, server: str) -> Environment: ...
    def reset_environment(self, user: str, server: str, now: datetime) -> Environment: ...
    def undo_reset(self, user: str, server: str, now: datetime) -> Environment: ...  # or Conflict

    # operations
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
    ) -> Operation: ...  # Conflict if one is under way for this server
    def advance_operation(
        self, operation_id: str, step: OperationStep, now: datetime, error: str = ""
    ) -> Operation: ...
    def operation(self, operation_id: str) -> Operation: ...
    def unfinished_operations(self) -> tuple[Operation, ...]: ...

    # audit
    def audit_trail(self, lease_id: str | None = None) -> tuple[AuditEntry, ...]: ...
