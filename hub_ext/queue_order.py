"""The order of those who wait, and what they have in common. Pure.

What this module guarantees: the order depends on nothing but the snapshot. Whose turn it is follows

0. the order of an admin (queue_moves.py): who has a boost goes before all others, highest first;
1. the level: the priority and one more for each Policy.aging waited. At TOP, above every priority
   there is, the order is that of arrival; so in the end nobody who comes later goes first;
2. below TOP, how much the user has had of late (Snapshot.usage, device-seconds), where each lease
   counts for at least EXPECTED, and so does each request of the same user that came earlier: ten
   requests of one user do not go before the first one of another;
3. who came first.

Requests that the same devices suit, in the same number, and that the same limits of groups concern
have one Shape: if the first of them cannot be served now, none of them can. Those for more devices
than are in order, or than a limit of their group ever allows, are `passed`: they do not count until
that changes.

Thousands may wait, and everybody's turn depends on it; so the order is worked out from the top, and
only as far as it is asked for.
"""

from __future__ import annotations

import heapq
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from itertools import repeat
from operator import attrgetter, itemgetter

from .buckets import Bucket, Sorter
from .lease_ends import granted_after
from .models import Kind, Lease, QueueEntry, Request, Snapshot
from .placement import suits
from .policy import Policy
from .stock import Lot

TOP = 11  # priorities are 0 to 10
EXPECTED = timedelta(hours=1)
ORPHAN_PATIENCE = timedelta(seconds=120)
ROUNDING = 1e-6  # of sums of parts of devices

_SEQUENCE, _ENQUEUED_AT = attrgetter("sequence"), attrgetter("enqueued_at")
_KIND, _USER = attrgetter("kind"), attrgetter("request.user")
# Whose turn it is, lowest first: minus the level, use, sequence. No two sequences are equal.
Turn = tuple[int, float, int, QueueEntry]
# Of one kind those of one level: from and up to which of them
_Part = tuple[int, Kind, int, int]


@dataclass(slots=True)
class Shape:
    """Requests that are served alike. `cost` is in whole devices (a slot is a part of one)."""

    gpus: int
    smallest: bool  # memory was asked for
    lots: tuple[Lot, ...]
    limited: tuple[str, ...]  # groups with a limit on devices at once
    cost: float
    passed: bool
    kinds: Sequence[Kind]


def is_orphan(entry: QueueEntry, snapshot: Snapshot) -> bool:
    """Whether nobody waits for the entry any more: the hub was started again since."""
    return entry.waiter != snapshot.run


class Order:
    """Who waits for which lots, and whose turn it is.

    Whoever asks for no device does not wait. Orphans older than ORPHAN_PATIENCE are left out.
    """

    def __init__(self, snapshot: Snapshot, lots: list[Lot]) -> None:
        self.lots = lots
        queue = _queues.sort(snapshot.queue)
        kinds, by_term, users = queue.by
        self._members = kinds.all
        self._by_term = by_term.all
        self._several = users.several
        self._ages = list(_ages(queue.things, snapshot.now, snapshot.policy.aging))
        self._used = snapshot.usage
        self._snapshot = snapshot
        self._young: dict[str, list[Lease]] = {}  # by user, those whose first EXPECTED is not over
        for lease in granted_after(snapshot.now - EXPECTED, snapshot.leases):
            self._young.setdefault(lease.user, []).append(lease)
        self._before: dict[int, float] = {}  # by sequence
        patient = snapshot.now < snapshot.run_since + ORPHAN_PATIENCE
        self._shapes = _shapes(
            [kind for kind in kinds.all if kind.gpus and (patient or kind.waiter == snapshot.run)],
            lots,
            snapshot.policy,
        )

    @cached_property
    def _slots(self) -> Mapping[str, int]:
        return slots_of(self._snapshot)

    @property
    def shapes(self) -> list[Shape]:
        """What those who wait ask for."""
        return list({id(shape): shape for shape in self._shapes.values()}.values())

    def turns(self, shape: Shape) -> Turns:
        """Those who ask for it, first to be served first."""
        return Turns(self, self._parts(shape))

    def line(self) -> list[tuple[QueueEntry, Shape]]:
        """All of them, first to be served first; those that are passed come last."""
        by_level: dict[int, list[QueueEntry]] = {}
        passed: list[QueueEntry] = []
        for shape in self.shapes:
            for part in self._parts(shape):
                here = passed if shape.passed else by_level.setdefault(part[0], [])
                here.extend(self.members(part))
        line: list[QueueEntry] = []
        for level in sorted(by_level, reverse=True):
            members = sorted(by_level[level], key=_SEQUENCE)
            uses = self.uses(level, members)
            line += [members[number] for number in sorted(range(len(uses)), key=uses.__getitem__)]
        line += sorted(passed, key=_SEQUENCE)
        return [(entry, self._shapes[entry.kind]) for entry in line]

    def uses(self, level: int, members: Sequence[QueueEntry]) -> list[float]:
        """What the user of each has had, or waits for already; device-seconds. From TOP: 0."""
        if level >= TOP:
            return [0.0] * len(members)
        users = list(map(_USER, members))
        uses = list(map(self._used.get, users, repeat(0.0)))
        young, several = self._young, self._several
        for number, user in enumerate(users):
            if user in young:
                uses[number] += self._still_to_come(user)
            if user in several:
                uses[number] += self._earlier(members[number])
        return uses

    def _still_to_come(self, user: str) -> float:
        """Of what the user's leases count for at least."""
        recently = self._snapshot.now - EXPECTED
        return sum(
            devices_of(lease, self._slots if lease.shared else {})
            * min(lease.granted_at - recently, EXPECTED).total_seconds()
            for lease in self._young[user]
        )

    def _earlier(self, entry: QueueEntry) -> float:
        """What the earlier requests of the same user are expected to use."""
        if entry.sequence not in self._before:
            sum_ = 0.0
            for each in self._several[entry.request.user]:
                self._before[each.sequence] = sum_
                shape = self._shapes.get(each.kind)
                if shape is not None and not shape.passed:
                    sum_ += shape.cost * EXPECTED.total_seconds()
        return self._before[entry.sequence]

    def members(self, part: _Part, longest: timedelta | None = None) -> Sequence[QueueEntry]:
        """In order of arrival; or, in any order, those whose term is known and not longer."""
        _level, kind, start, end = part
        members = self._members[kind]
        if longest is None:
            return members[start:end]
        by_term = self._by_term[kind]
        first, last = members[start].sequence, members[end - 1].sequence
        return [
            entry
            for entry in by_term[: bisect_right(by_term, longest, key=_term)]
            if first <= entry.sequence <= last
        ]

    def _parts(self, shape: Shape) -> list[_Part]:
        """Its entries, lowest level first."""
        found: list[_Part] = []
        for kind in shape.kinds:
            members, start = self._members[kind], 0
            if kind.boost:
                found.append((TOP + kind.boost, kind, 0, len(members)))
                continue
            for steps, last in self._ages:
                end = bisect_right(members, last, start, key=_SEQUENCE)
                if end > start:
                    found.append((min(kind.priority + steps, TOP), kind, start, end))
                    start = end
            if start < len(members):
                found.append((kind.priority, kind, start, len(members)))
        found.sort(key=itemgetter(0))
        return found


class Turns:
    """Those of one shape in their order; what it takes is worked out as they are asked for."""

    def __init__(self, order: Order, parts: list[_Part]) -> None:
        self._order = order
        self._parts = parts  # those that are not looked at yet
        self._level = 0
        self._next: list[tuple[float, int, QueueEntry]] = []  # a heap: those of one level
        self._longest: timedelta | None = None

    def only(self, longest: timedelta) -> None:
        """From now on only those whose term is known and not longer."""
        if longest != self._longest:
            self._longest = longest
            self._next = [turn for turn in self._next if _term(turn[2]) <= longest]
            heapq.heapify(self._next)

    def pop(self) -> Turn | None:
        """The next one; None: there is no more."""
        while True:
            if self._next:
                return (-self._level, *heapq.heappop(self._next))
            if not self._parts:
                return None
            self._level = self._parts[-1][0]
            while self._parts and self._parts[-1][0] == self._level:
                members = self._order.members(self._parts.pop(), self._longest)
                uses = self._order.uses(self._level, members)
                self._next += zip(uses, map(_SEQUENCE, members), members, strict=True)
            heapq.heapify(self._next)


def _term(entry: QueueEntry) -> timedelta:
    term = entry.request.term
    return timedelta.max if term is None else term


def _term_and_sequence(entry: QueueEntry) -> tuple[timedelta, int]:
    return (_term(entry), entry.sequence)


_queues = Sorter[QueueEntry](_SEQUENCE, _KIND, (_KIND, _term_and_sequence), _USER)


def _ages(
    entries: Bucket[QueueEntry], now: datetime, aging: timedelta
) -> Iterator[tuple[int, int]]:
    """Steps of priority gained by waiting, and the last sequence that gained so many; most first.

    Whoever came earlier counts as having waited at least as long, whatever the clock did.
    """
    done = 0
    for steps in range(TOP, 0, -1):
        until = bisect_right(entries, now - steps * aging, done, key=_ENQUEUED_AT)
        if until > done:
            yield steps, entries[until - 1].sequence
        done = until


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


@dataclass(frozen=True, slots=True)
class _Plan:
    """A shape without its lots, which are of one decision, and the kinds that have it."""

    lots: tuple[int, ...]  # their numbers
    limited: tuple[str, ...]
    cost: float
    passed: bool
    kinds: list[Kind]


def _shapes(kinds: Sequence[Kind], lots: list[Lot], policy: Policy) -> dict[Kind, Shape]:
    """The shape of each kind; kinds that are served alike have one."""
    found: dict[Kind, Shape] = {}
    for plan in _plans.of(tuple(kinds), lots, policy):
        shape = Shape(
            gpus=plan.kinds[0].gpus,
            smallest=plan.kinds[0].min_memory_bytes > 0,
            lots=tuple([lots[number] for number in plan.lots]),
            limited=plan.limited,
            cost=plan.cost,
            passed=plan.passed,
            kinds=plan.kinds,
        )
        found.update(dict.fromkeys(plan.kinds, shape))
    return found


class _Plans:
    """What was planned last is kept: who waits changes often, what for seldom."""

    def __init__(self) -> None:
        self._last: tuple[object, list[_Plan]] = (None, [])

    def of(self, kinds: tuple[Kind, ...], lots: list[Lot], policy: Policy) -> list[_Plan]:
        """What depends on nothing else than these."""
        there = [(lot.kind, lot.device.slots, len(lot.records)) for lot in lots]
        known, plans = self._last
        if known != (kinds, there, policy):
            plans = _plan(kinds, lots, policy)
            self._last = ((kinds, there, policy), plans)
        return plans


_plans = _Plans()


def _plan(kinds: Sequence[Kind], lots: list[Lot], policy: Policy) -> list[_Plan]:
    limits = {
        name: limits.max_devices
        for name, limits in policy.group_limits.items()
        if limits.max_devices is not None
    }
    suited = _Suited(lots, policy)
    plans: dict[tuple[object, ...], _Plan] = {}
    for kind in kinds:
        numbers = suited.by(kind)
        limited = tuple(sorted(name for name in set(kind.groups) if name in limits))
        same = (kind.gpus, kind.min_memory_bytes > 0, numbers, limited)
        if same not in plans:
            suiting = [lots[number] for number in numbers]
            part = max((1 / lot.device.slots for lot in suiting if lot.device.shared), default=1.0)
            cost = kind.gpus * part
            plans[same] = _Plan(
                lots=numbers,
                limited=limited,
                cost=cost,
                passed=kind.gpus > sum(len(lot.records) for lot in suiting)
                or any(cost > limits[name] + ROUNDING for name in limited),
                kinds=[],
            )
        plans[same].kinds.append(kind)
    return list(plans.values())


class _Suited:
    """The numbers of the lots that suit a kind, each question answered once."""

    def __init__(self, lots: list[Lot], policy: Policy) -> None:
        self._lots = lots
        self._policy = policy
        self._restricted = [pool for pool in policy.pools if pool.groups]
        self._known: dict[tuple[object, ...], tuple[int, ...]] = {}

    def by(self, kind: Kind) -> tuple[int, ...]:
        pools = tuple(pool.name for pool in self._restricted if pool.admits(kind.groups))
        key = (kind.gpus > 1, kind.model, kind.min_memory_bytes, kind.share, pools)
        if key not in self._known:
            request = Request(
                user="",
                server="",
                gpus=kind.gpus,
                model=kind.model,
                min_memory_bytes=kind.min_memory_bytes,
                share=kind.share,
                groups=kind.groups,
            )
            self._known[key] = tuple(
                number
                for number, lot in enumerate(self._lots)
                if suits(lot.device, request, self._policy)
            )
        return self._known[key]
