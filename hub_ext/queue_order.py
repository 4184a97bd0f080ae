"""The order of those who wait, and what they have in common. Pure.

What this module guarantees: the order depends on nothing but the snapshot. A request's rank is

1. its priority and one more for each Policy.aging that it waited. At TOP, above every priority
   there is, the order is that of arrival; so in the end nobody who comes later goes first;
2. below TOP, how much its user has had of late (Snapshot.usage, device-seconds), where each lease
   counts for at least EXPECTED, and so does each request of the same user that came earlier: ten
   requests of one user do not go before the first one of another;
3. when it came.

Requests that the same devices suit, in the same number, and that the same limits of groups concern
have one Shape: if the first of them cannot be served now, none of them can. Those for more devices
than are in order, or than a limit of their group ever allows, are `passed`: they do not count until
that changes.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import chain, repeat, starmap
from operator import add, attrgetter, call

from .models import Lease, QueueEntry, Request, Snapshot
from .placement import suits
from .policy import Policy
from .stock import Lot

TOP = 11  # priorities are 0 to 10
EXPECTED = timedelta(hours=1)
ORPHAN_PATIENCE = timedelta(seconds=120)
ROUNDING = 1e-6  # of sums of parts of devices

_LEVEL = 1e12  # more than any use, and small enough that a float still tells parts of a second
_BASES = [-level * _LEVEL for level in range(2 * TOP + 1)]  # by priority and steps gained
_REQUEST, _SEQUENCE = attrgetter("request"), attrgetter("sequence")
_USER, _PRIORITY = attrgetter("user"), attrgetter("priority")
_ENQUEUED_AT, _WAITER = attrgetter("enqueued_at"), attrgetter("waiter")
_ALIKE = attrgetter("gpus", "model", "min_memory_bytes", "share", "groups")
_Alike = tuple[int, str, int, bool, tuple[str, ...]]
_Join = Callable[[int], None]  # adds one to its shape


@dataclass(slots=True)
class Shape:
    """Requests that are served alike. `cost` is in whole devices (a slot is a part of one)."""

    gpus: int
    smallest: bool  # memory was asked for
    lots: tuple[Lot, ...]
    limited: tuple[str, ...]  # groups with a limit on devices at once
    cost: float
    passed: bool
    members: list[int] = field(default_factory=list)  # numbers of entries, in order of arrival


@dataclass(slots=True)
class Order:
    """Who waits for which lots. Entries are in order of arrival; a lower rank goes first, and of
    equal ones who came first."""

    lots: list[Lot]
    entries: list[QueueEntry]
    ranks: list[float]
    shapes: list[Shape]


def is_orphan(entry: QueueEntry, snapshot: Snapshot) -> bool:
    """Whether nobody waits for the entry any more: the hub was started again since."""
    return entry.waiter != snapshot.run


def order_of(snapshot: Snapshot, lots: list[Lot]) -> Order:
    """Look at all who wait, once. Orphans older than ORPHAN_PATIENCE are left out.

    As much of it as possible is done in C: thousands may wait, and everybody's turn depends on it.
    """
    entries = _waiting(snapshot)
    requests = list(map(_REQUEST, entries))
    shapes = _Shapes(lots, snapshot.policy)
    joins = map(shapes.__getitem__, map(_ALIKE, requests))
    deque(map(call, joins, range(len(entries))), maxlen=0)
    uses = _uses(requests, shapes, _use_of_late(snapshot))
    steps = chain.from_iterable(starmap(repeat, _aging(entries, snapshot.now, snapshot.policy)))
    levels = map(add, map(_PRIORITY, requests), steps)
    ranks = list(map(add, map(_BASES.__getitem__, levels), uses))
    if ranks and min(ranks) < (1 - TOP) * _LEVEL:
        ranks = [-TOP * _LEVEL if rank < (1 - TOP) * _LEVEL else rank for rank in ranks]
    return Order(lots, entries, ranks, shapes.all)


def _waiting(snapshot: Snapshot) -> list[QueueEntry]:
    """Those that count, in order of arrival."""
    waiting = list(snapshot.queue)
    if snapshot.now >= snapshot.run_since + ORPHAN_PATIENCE:
        run = snapshot.run
        if set(map(_WAITER, waiting)) != {run}:
            waiting = [entry for entry in waiting if entry.waiter == run]
    waiting.sort(key=_SEQUENCE)
    return waiting


def _aging(
    entries: Sequence[QueueEntry], now: datetime, policy: Policy
) -> Iterator[tuple[int, int]]:
    """How many steps of priority the first ones gained, and how many these are; then the next.

    Whoever came earlier counts as having waited at least as long, whatever the clock did.
    """
    done = 0
    for steps in range(TOP, 0, -1):
        until = bisect_right(entries, now - steps * policy.aging, done, key=_ENQUEUED_AT)
        yield steps, until - done
        done = until
    yield 0, len(entries) - done


def _uses(requests: list[Request], shapes: _Shapes, used: Mapping[str, float]) -> list[float]:
    """What the user of each has had, or waits for already; device-seconds."""
    users = list(map(_USER, requests))
    uses = list(map(used.get, users, repeat(0.0)))
    if len(set(users)) < len(users):
        several = {user for user, times in Counter(users).items() if times > 1}
        before = dict.fromkeys(several, 0.0)
        for number in [number for number, user in enumerate(users) if user in several]:
            user = users[number]
            uses[number] += before[user]
            before[user] += shapes.expected[_ALIKE(requests[number])]
    return uses


def _use_of_late(snapshot: Snapshot) -> dict[str, float]:
    """Device-seconds by user; young leases count for all of the time that one is expected to take.

    Those are the leases whose first EXPECTED is not over.
    """
    used = dict(snapshot.usage)
    recently = snapshot.now - EXPECTED
    young = [lease for lease in snapshot.leases if lease.granted_at > recently]
    slots = slots_of(snapshot) if any(lease.shared for lease in young) else {}
    for lease in young:
        left = min(lease.granted_at - recently, EXPECTED)
        more = devices_of(lease, slots) * left.total_seconds()
        used[lease.user] = used.get(lease.user, 0.0) + more
    return used


def group_use(snapshot: Snapshot) -> dict[str, float]:
    """How many devices the members of each limited group have now."""
    use = {
        name: 0.0
        for name, limits in snapshot.policy.group_limits.items()
        if limits.max_devices is not None
    }
    if use:
        slots = slots_of(snapshot)
        for lease in snapshot.leases:
            for name in lease.groups:
                if name in use:
                    use[name] += devices_of(lease, slots)
    return use


def slots_of(snapshot: Snapshot) -> dict[str, int]:
    """By UUID, into how many slots a shared device is divided."""
    shared = (each.device for each in snapshot.devices if each.device.shared)
    return {device.uuid: device.slots for device in shared}


def devices_of(lease: Lease, slots: Mapping[str, int]) -> float:
    """What a lease has, in whole devices (a slot is a part of one)."""
    if not lease.shared:
        return float(len(lease.device_uuids))
    return sum(1 / slots.get(uuid, 1) for uuid in lease.device_uuids)


class _Shapes(dict[_Alike, _Join]):
    """By what a request asks for: how to add one to its shape.

    `expected` is what it is expected to use, in device-seconds.
    """

    def __init__(self, lots: list[Lot], policy: Policy) -> None:
        super().__init__()
        self.all: list[Shape] = []
        self.expected: dict[_Alike, float] = {}
        self._lots = lots
        self._policy = policy
        self._limits = {
            name: limits.max_devices
            for name, limits in policy.group_limits.items()
            if limits.max_devices is not None
        }
        self._shapes: dict[tuple[object, ...], Shape] = {}
        self._suiting: dict[tuple[object, ...], tuple[int, ...]] = {}

    def __missing__(self, alike: _Alike) -> _Join:
        shape = self._shape(*alike)
        counts = 0.0 if shape is None or shape.passed else shape.cost
        self.expected[alike] = counts * EXPECTED.total_seconds()
        self[alike] = found = _ignore if shape is None else shape.members.append
        return found

    def _shape(
        self, gpus: int, model: str, memory: int, share: bool, groups: tuple[str, ...]
    ) -> Shape | None:
        if not gpus:
            return None
        numbers = self._suited_by(Request("", "", gpus, model, memory, share=share, groups=groups))
        limited = tuple(sorted(name for name in set(groups) if name in self._limits))
        same = (gpus, memory > 0, numbers, limited)
        if same not in self._shapes:
            lots = tuple(self._lots[number] for number in numbers)
            part = max((1 / lot.device.slots for lot in lots if lot.device.shared), default=1.0)
            cost = gpus * part
            shape = Shape(
                gpus=gpus,
                smallest=memory > 0,
                lots=lots,
                limited=limited,
                cost=cost,
                passed=gpus > sum(len(lot.records) for lot in lots)
                or any(cost > self._limits[name] + ROUNDING for name in limited),
            )
            self._shapes[same] = shape
            self.all.append(shape)
        return self._shapes[same]

    def _suited_by(self, request: Request) -> tuple[int, ...]:
        """The numbers of the lots that suit it."""
        pools = tuple(
            pool.name for pool in self._policy.pools if pool.groups and pool.admits(request.groups)
        )
        several = request.gpus > 1
        key = (several, request.model, request.min_memory_bytes, request.share, pools)
        if key not in self._suiting:
            self._suiting[key] = tuple(
                number
                for number, lot in enumerate(self._lots)
                if suits(lot.device, request, self._policy)
            )
        return self._suiting[key]


def _ignore(_number: int) -> None:
    """Whoever asks for no device does not wait."""
