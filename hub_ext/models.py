"""What passes between the modules of hub_ext: frozen dataclasses without behaviour of their own.

Words are those of docs/contributor.md: device, lease, ledger, request, environment, generation.
Every time is an aware UTC datetime; every size is in bytes; a device is named by its UUID.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from enum import IntEnum, StrEnum
from functools import lru_cache
from typing import Any

from .policy import Policy

EPOCH = datetime.fromtimestamp(0, UTC)
Key = tuple[str, str]  # (user, server); "" is the default server


class DeviceState(StrEnum):
    """What the last inventory said of a device's health."""

    HEALTHY = "healthy"
    MISSING = "missing"  # was in an earlier inventory, is not in the last one
    QUARANTINED = "quarantined"  # health check failed; `reason` says why


class Cordon(StrEnum):
    """What an admin said of a device, whatever its health."""

    NONE = ""
    CORDONED = "cordoned"  # no new leases
    DRAINING = "draining"  # no new leases, and those there are come to an end


class Link(IntEnum):
    """How well two devices are linked: NVML's topology levels, and NVLink above them all.

    n NVLinks between two devices count as NVLINK + n - 1. The order is that of NVIDIA's
    go-gpuallocator.
    """

    OTHER_SOCKET = 0  # NVML_TOPOLOGY_SYSTEM: across NUMA nodes
    SAME_NODE = 10  # NVML_TOPOLOGY_NODE, or only the NUMA node is known to be the same
    HOST_BRIDGE = 20  # NVML_TOPOLOGY_HOSTBRIDGE
    SWITCHES = 30  # NVML_TOPOLOGY_MULTIPLE: several PCIe switches
    ONE_SWITCH = 40  # NVML_TOPOLOGY_SINGLE
    BOARD = 50  # NVML_TOPOLOGY_INTERNAL: two GPUs on one card
    NVLINK = 100


class LeaseState(StrEnum):
    """granted -> running -> ended; `held` while a reset replaces the container."""

    GRANTED = "granted"  # committed; its container is being made
    RUNNING = "running"  # its container answered
    HELD = "held"  # its container is gone, its devices are kept for the same server
    ENDED = "ended"  # the Engine said that the container is gone


@dataclass(frozen=True, slots=True)
class DeviceProcess:
    """A process that holds memory of a device; empty fields are what cannot be told.

    `containers` are the ids of the containers around it, outermost first. `pids` are its numbers in
    the PID namespaces around it, as /proc has them: `pid` first, that of the innermost last.
    """

    pid: int
    memory_bytes: int | None = None
    containers: tuple[str, ...] = ()
    pids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class DeviceDetail:
    """What an inventory tells of a device for one look only; None is what NVML does not say."""

    processes: tuple[DeviceProcess, ...] | None = None
    memory_used_bytes: int | None = None
    persistence: bool | None = None  # whether the driver stays loaded without a client
    compute_mode: str = ""  # default, exclusive_thread, prohibited, exclusive_process


@dataclass(frozen=True, slots=True)
class Device:
    """One GPU or MIG instance as an inventory found it.

    `slots`, `shared` and `pool` come from the policy: an inventory leaves them alone, the ledger
    fills them in. `links` are (UUID of another device, a Link's score), best first. The last three
    are None where NVML does not say; they are not kept in the ledger.
    """

    uuid: str
    name: str
    memory_bytes: int
    simulated: bool = False
    driver_version: str = ""
    cuda_version: str = ""
    slots: int = 1
    healthy: bool = True
    reason: str = ""
    shared: bool = False
    pool: str = ""
    parent: str = ""  # of a MIG instance: its card's UUID
    numa_node: int | None = None
    links: tuple[tuple[str, int], ...] = ()
    compute_processes: int | None = None
    utilization_percent: int | None = None
    detail: DeviceDetail | None = None

    @property
    def is_mig(self) -> bool:
        """Whether it is a MIG instance, which can do no DDP with others."""
        return bool(self.parent)


@dataclass(frozen=True, slots=True)
class DeviceRecord:
    """A device as the ledger knows it, with the leases that hold its slots."""

    device: Device
    state: DeviceState
    last_seen: datetime
    reason: str = ""
    lease_ids: tuple[str, ...] = ()
    cordon: Cordon = Cordon.NONE
    cordon_reason: str = ""
    slots_set: int | None = None  # what an admin said of its slots; None: as configured

    @property
    def accepts(self) -> bool:
        """True if it may be leased as soon as it is free."""
        return self.state is DeviceState.HEALTHY and self.cordon is Cordon.NONE

    @property
    def free_slots(self) -> int:
        """How many new leases it can take now: at most one if it is exclusive."""
        return max(0, self.device.slots - len(self.lease_ids)) if self.accepts else 0

    @property
    def is_free(self) -> bool:
        """True if nobody has it and it may be leased."""
        return self.accepts and not self.lease_ids


@dataclass(frozen=True, slots=True)
class DeviceChange:
    """What an inventory changed of a device's state, and the live leases that it concerns."""

    uuid: str
    name: str
    before: DeviceState | None  # None: never seen before
    after: DeviceState
    reason: str = ""
    lease_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Request:
    """What a server asks for, validated by options.py, with what the policy says of its user."""

    user: str
    server: str  # "" is the default server
    gpus: int
    model: str = ""  # a part of the device's name, in any case; "" is any
    min_memory_bytes: int = 0
    share: bool = False  # a slot of a shared device instead of a device
    groups: tuple[str, ...] = ()  # of the user, sorted
    priority: int = 0
    term: timedelta | None = None  # how long the lease will last; None: without end


@dataclass(frozen=True, slots=True, eq=False)
class Kind:
    """What the queue tells entries apart by, but for their user, age and term.

    Equal entries mostly have the very same one, so that thousands are sorted by it quickly.
    """

    gpus: int
    model: str
    min_memory_bytes: int
    share: bool
    groups: tuple[str, ...]
    priority: int
    waiter: str
    boost: int = 0
    # a decision looks kinds up hundreds of times
    _hash: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        every = (self.gpus, self.model, self.min_memory_bytes, self.share, self.groups)
        more = (self.priority, self.waiter, self.boost)
        object.__setattr__(self, "_hash", hash((*every, *more)))

    def __hash__(self) -> int:
        return self._hash


_kind = lru_cache(maxsize=4096)(Kind)


@dataclass(frozen=True, slots=True)
class QueueMove:
    """Who gave an entry its place in the line."""

    at: datetime
    by: str
    reason: str


@dataclass(frozen=True, slots=True)
class QueueEntry:
    """A request that waits; `sequence` is its place in order of arrival, no other has the same.

    `waiter` is the run of the hub that waits for it (see Snapshot.run). One of an earlier run has
    nobody who would take what it is granted until the service starts it again with `user_options`.
    With a `boost` it has a place that an admin gave: by `move`, or because it was before one.
    """

    request: Request
    sequence: int
    enqueued_at: datetime
    waiter: str = ""
    user_options: Mapping[str, object] = field(default_factory=dict)
    boost: int = 0
    move: QueueMove | None = None
    kind: Kind = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        of = self.request
        kind = _kind(
            of.gpus,
            of.model,
            of.min_memory_bytes,
            of.share,
            of.groups,
            of.priority,
            self.waiter,
            self.boost,
        )
        object.__setattr__(self, "kind", kind)


@dataclass(frozen=True, slots=True)
class Revocation:
    """An admin's or instructor's word that a lease ends at `until`, said to its user at `at`."""

    at: datetime
    until: datetime
    by: str
    reason: str


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
    shared: bool = False
    groups: tuple[str, ...] = ()  # of the user, when it was granted
    # the end of its term, of a drain or of its revocation; None: without end
    expires_at: datetime | None = None
    extensions: int = 0  # how often its user extended it
    idle_since: datetime | None = None  # its devices do nothing
    reclaim_at: datetime | None = None  # its user was warned; taken back then, if still idle
    revocation: Revocation | None = None
    term_until: datetime | None = None  # what `expires_at` is without a drain and a revocation
    drain_until: datetime | None = None  # while one of its devices is drained


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that a placement decision may look at, read in one transaction at `now`.

    Devices and leases name each other. `usage` are device-seconds of each user, live leases
    included, where those of one half-life ago count half. `typical_lease` is the median duration of
    the latest leases that ended (None: too few to say). `run` names the hub process that waits for
    the entries of the queue. `derived` is where pure functions keep what they made of it, for the
    next caller. The next snapshot has the very objects of this one where nothing changed.
    """

    devices: tuple[DeviceRecord, ...]
    queue: tuple[QueueEntry, ...]  # in order of arrival
    leases: tuple[Lease, ...] = ()  # not ended
    now: datetime = EPOCH
    usage: Mapping[str, float] = field(default_factory=dict)
    typical_lease: timedelta | None = None
    policy: Policy = field(default_factory=Policy)
    run: str = ""
    run_since: datetime = EPOCH
    derived: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class KeptGeneration:
    """An environment that was left, by a reset or an undo, and can be gone back to.

    It is deleted with the `resets_left`th reset from now.
    """

    generation: int
    left_at: datetime
    resets_left: int


@dataclass(frozen=True, slots=True)
class Environment:
    """Which generation of a server's environment is in use.

    `newest` only grows, so that a volume's name is never used twice; `kept` are the generations
    that an undo may go back to, the one left last first (at most two).
    """

    user: str
    server: str
    generation: int = 1
    newest: int = 1
    kept: tuple[KeptGeneration, ...] = ()


OFFER_RESET_AFTER = 2  # starts in a row that failed


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
    generation: int | None = None  # of an undo: where it goes back to; None: the one left last
    reason: str = ""  # in the words of whoever asked for it
    group_reset: str = ""  # the id of the reset of a whole group that this is a part of


class GroupAction(StrEnum):
    """What is done about the default servers of everyone in a group."""

    RESET = "reset"
    START = "start"
    STOP = "stop"


class GroupOperationState(StrEnum):
    RUNNING = "running"
    CANCELLED = "cancelled"  # who had not begun is left alone; what had begun goes on to its end
    DONE = "done"


class MemberState(StrEnum):
    """How far a member is. In a reset it is PENDING or FAILED: the rest is in their operation."""

    PENDING = "pending"
    UNDER_WAY = "under_way"  # the hub is asked, or about to be
    DONE = "done"
    QUEUED = "queued"  # started, and waits in line for a device
    SKIPPED = "skipped"  # it was so already
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class GroupMember:
    """One user of a group about whom something is done: how it goes, and a word about it."""

    user: str
    operation: Operation | None = None  # of a reset; None: not begun yet, or refused
    state: MemberState = MemberState.PENDING
    note: str = ""


@dataclass(frozen=True, slots=True)
class GroupOperation:
    """A reset, start or stop of the default servers of all who were in a group at the time."""

    id: str
    action: GroupAction
    group: str
    state: GroupOperationState
    requested_by: str
    requested_at: datetime
    reason: str
    due: datetime | None = None  # nobody is begun before
    members: tuple[GroupMember, ...] = ()


@dataclass(frozen=True, slots=True)
class DeviceHealth:
    """From when on a device was in a state; `reason` says why it was not healthy."""

    number: int
    at: datetime
    state: DeviceState
    reason: str


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One line of the audit trail; a later one has a higher number.

    It is about the server `user`/`server` (no user: about none), a device or a group. `action` is
    one of audit_actions.py, or that of another version of gpucamp.
    """

    number: int
    at: datetime
    actor: str
    action: str
    lease_id: str = ""
    detail: str = ""
    user: str = ""
    server: str = ""
    device: str = ""
    group: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """What is known of a request with an Idempotency-Key; no status: it may not have been done."""

    request: str  # which one, as a digest
    status: int | None
    body: str


class NoticeKind(StrEnum):
    """What a user is told about their server; wording.py has the words."""

    DEVICE_QUARANTINED = "device_quarantined"  # detail: device, reason
    DEVICE_BACK = "device_back"  # detail: device
    DRAINING = "draining"  # detail: device, reason, until (ISO 8601)
    LEASE_EXPIRED = "lease_expired"  # the server was stopped: its term was over
    LEASE_RECLAIMED = "lease_reclaimed"  # it was stopped: idle while others waited
    QUOTA_USED_UP = "quota_used_up"  # it was stopped: no device-hours left
    LEASE_REVOKED = "lease_revoked"  # detail: by, reason, until (ISO 8601)
    REVOCATION_UNDONE = "revocation_undone"  # detail: by
    STOPPED_AS_REVOKED = "stopped_as_revoked"  # it was stopped; detail: by, reason
    QUEUE_CANCELLED = "queue_cancelled"  # by somebody else; detail: by, reason, occasion (sequence)
    LEASE_EXTENDED = "lease_extended"  # by somebody else; detail: by, reason, until
    ENVIRONMENT_RESET = "environment_reset"  # by somebody else; detail: by, reason
    ENVIRONMENT_UNDONE = "environment_undone"  # by somebody else; detail: by, reason
    MESSAGE = "message"  # of somebody else; detail: by, text
    # detail: what ("environments" or "work"), used and limit in bytes
    SPACE_SHORT = "space_short"
    SPACE_FULL = "space_full"
    STOP_ANNOUNCED = "stop_announced"  # of a whole group; detail: by, reason, until, occasion
    STOPPED_WITH_GROUP = "stopped_with_group"  # detail: by, reason
    START_LOST = (
        "start_lost"  # a start that waited in line did not survive a restart; detail: reason
    )


@dataclass(frozen=True, slots=True)
class Notice:
    """What happened to a server without its user's doing; kept until they have read it."""

    id: int
    user: str
    server: str
    at: datetime
    kind: NoticeKind
    detail: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Usage:
    """Device-seconds on one UTC day. `group` "" is the user's whole use; with a name, the part that
    counts for that group of theirs as well."""

    day: date
    user: str
    group: str
    device_uuid: str
    seconds: float
