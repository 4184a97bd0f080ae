"""What passes between the modules of hub_ext: frozen dataclasses without behaviour of their own.

Words are those of docs/contributor.md: device, lease, ledger, request, environment, generation.
Every time is an aware UTC datetime; every size is in bytes; a device is named by its UUID.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class DeviceState(StrEnum):
    """Whether a device may be leased."""

    HEALTHY = "healthy"
    MISSING = "missing"  # was in an earlier inventory, is not in the last one
    QUARANTINED = "quarantined"  # health check failed; `reason` says why


class LeaseState(StrEnum):
    """granted -> running -> ended; `held` while a reset replaces the container."""

    GRANTED = "granted"  # committed; its container is being made
    RUNNING = "running"  # its container answered
    HELD = "held"  # its container is gone, its devices are kept for the same server
    ENDED = "ended"  # the Engine said that the container is gone


@dataclass(frozen=True, slots=True)
class Device:
    """One GPU or MIG instance as an inventory found it."""

    uuid: str
    name: str
    memory_bytes: int
    simulated: bool = False
    driver_version: str = ""
    cuda_version: str = ""
    slots: int = 1
    healthy: bool = True
    reason: str = ""


@dataclass(frozen=True, slots=True)
class DeviceRecord:
    """A device as the ledger knows it, with the leases that hold its slots."""

    device: Device
    state: DeviceState
    last_seen: datetime
    reason: str = ""
    lease_ids: tuple[str, ...] = ()

    @property
    def is_free(self) -> bool:
        """True if a new exclusive lease may take it."""
        return self.state is DeviceState.HEALTHY and not self.lease_ids


@dataclass(frozen=True, slots=True)
class Request:
    """What a server asks for, validated by options.py."""

    user: str
    server: str  # "" is the default server
    gpus: int


@dataclass(frozen=True, slots=True)
class QueueEntry:
    """A request that waits; `sequence` is its place in order of arrival."""

    request: Request
    sequence: int
    enqueued_at: datetime


@dataclass(frozen=True, slots=True)
class Lease:
    """The right of one server to some devices, from grant to proof that its container is gone."""

    id: str
    user: str
    server: str
    state: LeaseState
    device_uuids: tuple[str, ...]
    granted_at: datetime
    container_id: str = ""
    hold_until: datetime | None = None
    ended_at: datetime | None = None
    end_reason: str = ""
    gone_at: datetime | None = None  # while HELD: since when its container is known to be gone


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that a placement decision may look at, read in one transaction."""

    devices: tuple[DeviceRecord, ...]
    queue: tuple[QueueEntry, ...]  # in order of arrival
    leases: tuple[Lease, ...] = ()  # not ended


@dataclass(frozen=True, slots=True)
class Environment:
    """Which generation of a server's environment is in use.

    `newest` only grows, so that a volume's name is never used twice; `history` are the earlier
    generations that an undo may go back to, latest last (at most two are kept).
    """

    user: str
    server: str
    generation: int = 1
    newest: int = 1
    history: tuple[int, ...] = ()


class OperationKind(StrEnum):
    RESET = "reset"
    UNDO = "undo"


class OperationStep(StrEnum):
    """The steps of a reset or undo, in order. FAILED and DONE are final."""

    REQUESTED = "requested"
    STOPPING = "stopping"
    SWITCHING = "switching"  # container gone: the generation changes now
    STARTING = "starting"
    DONE = "done"
    FAILED = "failed"


FINAL_STEPS = (OperationStep.DONE, OperationStep.FAILED)


@dataclass(frozen=True, slots=True)
class Operation:
    """A reset or undo under way; kept in the ledger so that a restarted service finishes it."""

    id: str
    kind: OperationKind
    user: str
    server: str
    step: OperationStep
    requested_by: str
    requested_at: datetime
    updated_at: datetime
    start_after: bool = True  # the server ran before, so it is started again
    user_options: dict[str, object] = field(default_factory=dict)
    error: str = ""


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One line of the audit trail."""

    at: datetime
    actor: str
    action: str
    lease_id: str = ""
    detail: str = ""
