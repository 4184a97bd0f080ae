"""Whose turn it is, for any site and any line: against a model that is slow and obvious."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st
from lines import HOUR, NOW, device, entry, lease, record, snapshot

from hub_ext.fair_queue import decide, line_up
from hub_ext.models import DeviceRecord, DeviceState, Lease, QueueEntry, Request, Snapshot
from hub_ext.placement import choose, suits, usable_count
from hub_ext.policy import GroupLimits, Policy, Pool

POLICY = Policy(
    pools=(Pool("staff", ("x",), groups=("staff",)), Pool("shared", ("y",), slots=2)),
    group_limits={"camp": GroupLimits(max_devices=3), "staff": GroupLimits(max_devices=1)},
)
NEVER = NOW + timedelta(days=100_000)
Moment = tuple[datetime, str]  # and its basis
UNKNOWN: Moment = (NEVER, "")
HOURS = st.sampled_from([1, 2, 3, 5, 8])


@st.composite
def sites(draw: st.DrawFn) -> Snapshot:
    """Up to eight devices of some kinds, some leased, and up to eight who wait."""
    records: list[DeviceRecord] = []
    leases: list[Lease] = []

    def a_lease(uuid: str, shared: bool) -> str:
        left = draw(st.one_of(HOURS.map(lambda hours: hours * HOUR), st.none()))
        ran = draw(HOURS) * HOUR
        groups = draw(st.sampled_from([(), ("camp",), ("camp", "staff")]))
        name = f"lease-{len(leases)}"
        user = f"u{draw(st.integers(0, 9))}"
        leases.append(
            lease(name, uuid, left=left, ran=ran, groups=groups, shared=shared, user=user)
        )
        return name

    for uuid in "abcdefgh"[: draw(st.integers(1, 8))]:
        kind = draw(st.sampled_from(["A100", "A100", "H100", "mig", "staff", "shared"]))
        item = device(uuid, "H100" if kind == "H100" else "A100")
        if kind == "mig":
            item = device(uuid, "A100 MIG", 10, parent="card")
        elif kind == "staff":
            item = replace(item, pool="staff")
        elif kind == "shared":
            item = replace(item, pool="shared", shared=True, slots=2)
        names = [a_lease(uuid, item.shared) for _ in range(draw(st.integers(0, item.slots)))]
        state = DeviceState.HEALTHY if draw(st.integers(0, 9)) else DeviceState.QUARANTINED
        records.append(record(item, *names, state=state))

    queue = []
    hours = sorted(draw(st.lists(st.sampled_from([0, 0, 1, 2, 8, 11]), max_size=8)), reverse=True)
    for number, waited in enumerate(hours):
        share = draw(st.integers(0, 3)) == 0
        queue.append(
            entry(
                number,
                draw(st.integers(0, 3)),
                user=f"u{draw(st.integers(0, 9))}",
                waited=waited * HOUR,
                term=draw(st.one_of(HOURS.map(lambda hours: hours * HOUR), st.none())),
                model=draw(st.sampled_from(["", "", "a100", "h100"])),
                share=share,
                groups=draw(st.sampled_from([(), ("camp",), ("camp", "staff")])),
                priority=draw(st.sampled_from([0, 0, 5, 10])),
                waiter=draw(st.sampled_from(["now", "now", "now", "old"])),
            )
        )
    for number in draw(st.sets(st.integers(0, 7), max_size=2)):
        if number < len(queue):
            queue[number] = replace(queue[number], boost=draw(st.integers(1, 3)))
    usage = {f"u{n}": float(draw(st.integers(0, 9)) * 3600) for n in range(10)}
    return snapshot(
        records,
        queue,
        leases,
        usage=usage,
        typical_lease=draw(st.sampled_from([None, 2 * HOUR, 4 * HOUR])),
        policy=draw(st.sampled_from([Policy(), POLICY])),
        run="now",
        run_since=NOW - draw(st.sampled_from([0, 1])) * HOUR,
    )


# -- the model


def cost(request: Request, seen: Snapshot) -> float:
    """In whole devices."""
    fitting = [
        r.device for r in seen.devices if r.accepts and suits(r.device, request, seen.policy)
    ]
    return request.gpus / 2 if request.share and fitting else request.gpus


def can_ever(request: Request, seen: Snapshot) -> bool:
    limits = [seen.policy.group_limits[g].max_devices for g in request.groups if g in caps(seen)]
    enough = usable_count(seen.devices, request, seen.policy) >= request.gpus
    return enough and all(most is None or cost(request, seen) <= most for most in limits)


def caps(seen: Snapshot) -> set[str]:
    return set(seen.policy.group_limits)


def in_order(seen: Snapshot) -> list[QueueEntry]:
    """Those who count and can be served some day, by the rule as it is written."""
    orphans_count = seen.now < seen.run_since + timedelta(seconds=120)
    waiting = [e for e in seen.queue if e.request.gpus and (e.waiter == seen.run or orphans_count)]
    used: defaultdict[str, float] = defaultdict(float, seen.usage)
    for each in seen.leases:
        young = max(0.0, 3600 - (seen.now - each.granted_at).total_seconds())
        used[each.user] += young * len(each.device_uuids) / (2 if each.shared else 1)
    order = []
    for each in sorted(waiting, key=lambda e: e.sequence):
        user, waited = each.request.user, seen.now - each.enqueued_at
        level = min(each.request.priority + waited // HOUR, 11)
        if each.boost:  # an admin put it there
            level = 11 + each.boost
        order.append((-level, used[user] if level < 11 else 0.0, each.sequence, each))
        if can_ever(each.request, seen):
            used[user] += 3600 * cost(each.request, seen)
    order.sort(key=lambda row: row[:3])
    return [row[3] for row in order if can_ever(row[3].request, seen)]


def end_of(start: datetime, deadline: datetime | None, seen: Snapshot, basis: str = "") -> Moment:
    """Of two devices that are free at the same time, the one whose deadline says so goes first."""
    if start >= NEVER:
        return UNKNOWN
    usual = NEVER if seen.typical_lease is None else start + seen.typical_lease
    if seen.now < usual < (deadline or NEVER):
        return usual, "history"
    if deadline is None:
        return UNKNOWN
    return max(seen.now, deadline), basis or "deadline"


class Model:
    """One pass over the line, looking at everything each time."""

    def __init__(self, seen: Snapshot) -> None:
        self.seen = seen
        self.records = {each.device.uuid: each for each in seen.devices}
        self.aside: list[tuple[str, datetime]] = []  # a free slot, and until when it may be used
        # when each slot of each device is free
        ends = {e.id: end_of(e.granted_at, e.expires_at, seen) for e in seen.leases}
        self.times: dict[str, list[Moment]] = {
            each.device.uuid: [ends[name] for name in each.lease_ids] for each in seen.devices
        }
        self.use = {name: 0.0 for name in seen.policy.group_limits}
        for each in seen.leases:
            self.have(each.groups, len(each.device_uuids) / (2 if each.shared else 1))
        self.full: set[str] = set()
        self.waits: list[Any] = []
        self.grants: dict[str, tuple[str, ...]] = {}
        self.reserved: dict[str, tuple[set[str], datetime]] = {}
        for each in in_order(seen):
            self.serve(each)

    def have(self, groups: tuple[str, ...], devices: float) -> None:
        for name in groups:
            if name in self.use:
                self.use[name] += devices

    def stopped(self, request: Request) -> bool:
        found = set()
        for name in request.groups:
            if name in self.use:
                most = self.seen.policy.group_limits[name].max_devices or 0
                if name in self.full or self.use[name] + cost(request, self.seen) > most:
                    found.add(name)
        self.full |= found
        return bool(found)

    def fitting(self, request: Request) -> list[str]:
        return [
            uuid
            for uuid, each in self.records.items()
            if each.accepts and suits(each.device, request, self.seen.policy)
        ]

    def serve(self, waiting: QueueEntry) -> None:
        request = waiting.request
        if self.stopped(request):
            return
        until = end_of(self.seen.now, request.term and self.seen.now + request.term, self.seen)
        taken = choose(self.records.values(), request, self.seen.policy)
        if taken is not None:
            for uuid in taken:
                self.occupy(uuid)
                self.times[uuid].append(until)
            self.give(waiting, taken)
            return
        if self.backfill(waiting, until):
            return
        shape = (request.gpus, tuple(self.fitting(request)))
        shape += (tuple(name for name in request.groups if name in self.use),)
        if shape not in self.waits:
            self.waits.append(shape)
            self.reserve(waiting)

    def occupy(self, uuid: str) -> None:
        each = self.records[uuid]
        self.records[uuid] = replace(each, lease_ids=(*each.lease_ids, "taken"))

    def give(self, waiting: QueueEntry, taken: tuple[str, ...]) -> None:
        self.have(waiting.request.groups, cost(waiting.request, self.seen))
        if waiting.waiter == self.seen.run:
            self.grants[waiting.request.server] = taken
        else:
            self.reserved[waiting.request.server] = (set(taken), self.seen.now)

    def backfill(self, waiting: QueueEntry, until: Moment) -> bool:
        request = waiting.request
        if request.term is None:
            return False
        end = self.seen.now + request.term
        usable: dict[str, datetime] = {}
        for uuid in self.fitting(request):
            each = self.records[uuid]
            if each.free_slots if each.device.shared else each.is_free:
                usable[uuid] = NEVER
            else:
                times = [at for other, at in self.aside if other == uuid and at >= end]
                if times:
                    usable[uuid] = max(times)
        if not self.aside or len(usable) < request.gpus:
            return False
        # which of them is placement's business: it is shown nothing else
        few = [
            replace(self.records[uuid], lease_ids=self.records[uuid].lease_ids[:0])
            for uuid in usable
        ]
        taken = choose(few, request, self.seen.policy)
        assert taken is not None
        for uuid in taken:
            if usable[uuid] == NEVER:
                self.occupy(uuid)
                self.times[uuid].append(until)
            else:
                self.aside.remove((uuid, usable[uuid]))
        self.give(waiting, taken)
        return True

    def reserve(self, waiting: QueueEntry) -> None:
        request = waiting.request
        self.have(request.groups, cost(request, self.seen))
        mine = []
        for uuid in self.fitting(request):
            each = self.records[uuid]
            if each.free_slots if each.device.shared else each.is_free:
                mine.append(uuid)
                self.occupy(uuid)
        free = list(mine)
        at: Moment = (self.seen.now, "")
        slots = sorted(
            (time, uuid)
            for uuid in self.fitting(request)
            for time in self.times[uuid]
            if uuid not in free
        )
        for time, uuid in slots:
            if len(mine) < request.gpus and uuid not in mine:
                mine.append(uuid)
                self.times[uuid].remove(time)
                at = max(at, time)
        for uuid in mine:
            self.times[uuid].append(self.end_of_one_that_begins(at, request))
        if free:
            self.reserved[request.server] = (set(mine), at[0])
            if at < UNKNOWN:
                self.aside += [(uuid, at[0]) for uuid in free]

    def end_of_one_that_begins(self, at: Moment, request: Request) -> Moment:
        start, basis = at
        deadline = start + request.term if request.term is not None and at < UNKNOWN else None
        return end_of(start, deadline, self.seen, basis)


@given(sites())
def test_the_decision_is_that_of_the_model(seen: Snapshot) -> None:
    decision, model = decide(seen), Model(seen)
    whose = {server: uuids for (_user, server), uuids in decision.grants.items()}
    assert whose.keys() == model.grants.keys()
    assert {who: len(uuids) for who, uuids in whose.items()} == {
        who: len(uuids) for who, uuids in model.grants.items()
    }
    if not any(each.device.shared for each in seen.devices):
        # slots that are set aside count as sharers in the one and not in the other
        assert whose == model.grants
    reserved = {
        server: (set(each.device_uuids), each.at or NEVER)
        for (_user, server), each in decision.reservations.items()
    }
    if not any(each.device.shared for each in seen.devices):
        assert reserved == model.reserved
    assert reserved.keys() == model.reserved.keys()


@given(sites())
def test_only_what_is_free_and_suits_is_granted_and_once(seen: Snapshot) -> None:
    devices = {each.device.uuid: each for each in seen.devices}
    requests = {(e.request.user, e.request.server): e.request for e in seen.queue}
    given_away: Counter[str] = Counter()
    for who, uuids in decide(seen).grants.items():
        request = requests[who]
        assert len(uuids) == len(set(uuids)) == request.gpus
        assert all(suits(devices[uuid].device, request, seen.policy) for uuid in uuids)
        given_away.update(uuids)
    for uuid, times in given_away.items():
        each = devices[uuid]
        assert times <= (each.free_slots if each.device.shared else int(each.is_free))


@given(sites())
def test_the_limits_of_groups_hold(seen: Snapshot) -> None:
    requests = {(e.request.user, e.request.server): e.request for e in seen.queue}
    for name, limits in seen.policy.group_limits.items():
        had = sum(
            len(each.device_uuids) / (2 if each.shared else 1)
            for each in seen.leases
            if name in each.groups
        )
        more = sum(
            cost(requests[who], seen) for who in decide(seen).grants if name in requests[who].groups
        )
        assert not more or had + more <= (limits.max_devices or 0)


@given(sites(), st.randoms())
def test_it_depends_on_nothing_else(seen: Snapshot, random: Any) -> None:
    parts = [list(seen.devices), list(seen.queue), list(seen.leases)]
    for part in parts:
        random.shuffle(part)
    devices, queue, leases = parts
    same = replace(seen, devices=tuple(devices), queue=tuple(queue), leases=tuple(leases))
    assert decide(same) == decide(seen)
    assert line_up(same) == line_up(seen)


@given(sites())
def test_the_line_has_everybody_once_in_order(seen: Snapshot) -> None:
    line = line_up(seen)
    served = in_order(seen)
    assert [place.position for place in line] == list(range(1, len(line) + 1))
    assert [place.entry for place in line[: len(served)]] == served
    assert not any(can_ever(place.entry.request, seen) for place in line[len(served) :])


@given(sites())
def test_no_time_is_earlier_than_it_can_be(seen: Snapshot) -> None:
    """Not before as many devices that suit can be free, whatever the others do."""
    decision = decide(seen)
    ends = {each.id: end_of(each.granted_at, each.expires_at, seen)[0] for each in seen.leases}
    for place in line_up(seen):
        request = place.entry.request
        if not can_ever(request, seen):
            assert place.eta.at is None
            continue
        first = [
            min([ends[name] for name in each.lease_ids] + [seen.now] * bool(room(each)))
            for each in seen.devices
            if each.accepts and suits(each.device, request, seen.policy)
        ]
        assert (place.eta.at or NEVER) >= sorted(first)[request.gpus - 1]
        if (request.user, request.server) in decision.grants:
            assert place.eta.at == seen.now


def room(each: DeviceRecord) -> int:
    return each.free_slots if each.device.shared else int(each.is_free)


@given(sites())
def test_a_time_is_unknown_exactly_when_something_without_an_end_is_waited_for(
    seen: Snapshot,
) -> None:
    """Give all that has no end one in the far future: those whose time was unknown get one there,
    and nothing changes for the others."""
    seen = replace(seen, typical_lease=None)
    far = timedelta(days=10_000)
    bounded = replace(
        seen,
        leases=tuple(
            replace(each, expires_at=each.expires_at or seen.now + far) for each in seen.leases
        ),
        queue=tuple(
            replace(each, request=replace(each.request, term=each.request.term or far))
            for each in seen.queue
        ),
    )
    # with an end in sight, however far, some may be served meanwhile
    assume(decide(seen).grants == decide(bounded).grants)
    for place, other in zip(line_up(seen), line_up(bounded), strict=True):
        if not can_ever(place.entry.request, seen):
            continue
        assert other.eta.at is not None
        if other.eta.at >= seen.now + far:
            assert place.eta.at is None
        else:
            assert place.eta == other.eta
