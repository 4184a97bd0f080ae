"""The line as time goes by: nobody is overtaken for ever, backfill delays nobody."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lines import HOUR, NOW, device, entry, record

from hub_ext.fair_queue import decide, line_up
from hub_ext.models import DeviceRecord, Lease, LeaseState, QueueEntry, Snapshot
from hub_ext.queue_order import TOP

STEP = timedelta(minutes=30)
LONGEST = 2 * HOUR  # the longest term of those who come


@dataclass
class Site:
    """Devices on which everybody stays to the end of their term, and comes back if they like."""

    records: list[DeviceRecord]
    now: datetime = NOW
    queue: list[QueueEntry] = field(default_factory=list)
    leases: list[Lease] = field(default_factory=list)
    served: dict[int, datetime] = field(default_factory=dict)
    usage: dict[str, float] = field(default_factory=dict)
    arrived: int = 0

    def ask(self, gpus: int, **more: Any) -> int:
        """Somebody comes; their number."""
        number = self.arrived
        self.arrived += 1
        found = entry(number, gpus, **more)
        self.queue.append(replace(found, enqueued_at=self.now))
        return number

    def snapshot(self) -> Snapshot:
        holders = {uuid: each.id for each in self.leases for uuid in each.device_uuids}
        records = []
        for each in self.records:
            held = holders.get(each.device.uuid)
            records.append(replace(each, lease_ids=() if held is None else (held,)))
        queue, leases = tuple(self.queue), tuple(self.leases)
        return Snapshot(tuple(records), queue, leases, self.now, dict(self.usage))

    def serve(self) -> None:
        """End what is over; grant what there is to grant."""
        self.leases = [
            each for each in self.leases if each.expires_at is None or each.expires_at > self.now
        ]
        grants = decide(self.snapshot()).grants
        for waiting in list(self.queue):
            request = waiting.request
            uuids = grants.get((request.user, request.server))
            if uuids is not None:
                self.queue.remove(waiting)
                self.served[waiting.sequence] = self.now
                end = None if request.term is None else self.now + request.term
                lease_id = f"lease-{waiting.sequence}"
                state = LeaseState.RUNNING
                granted = Lease(lease_id, request.user, request.server, state, uuids, self.now)
                self.leases.append(replace(granted, expires_at=end))

    def step(self) -> None:
        for each in self.leases:
            seconds = len(each.device_uuids) * STEP.total_seconds()
            self.usage[each.user] = self.usage.get(each.user, 0.0) + seconds
        self.now += STEP


def devices(count: int, kind: str = "A100") -> list[DeviceRecord]:
    return [record(device(f"{kind}-{n}", kind)) for n in range(count)]


def small_ones(site: Site) -> None:
    """A new user with one GPU for each device there is, at every step."""
    for _ in site.records:
        site.ask(1, term=HOUR)


def long_and_short(site: Site) -> None:
    for number in range(len(site.records)):
        site.ask(1, term=(STEP, LONGEST)[number % 2])


def important_ones(site: Site) -> None:
    for _ in site.records:
        site.ask(1, priority=10, term=LONGEST)


def two_users(site: Site) -> None:
    """Each comes back again and again, for half of the devices."""
    waiting = {each.request.user for each in site.queue}
    for user in {"lin", "kim"} - waiting:
        site.ask(len(site.records) // 2, user=user, term=LONGEST)


def many_large_ones(site: Site) -> None:
    site.ask(len(site.records) - 1, term=LONGEST)


STREAMS = [small_ones, long_and_short, important_ones, two_users, many_large_ones]


@pytest.mark.parametrize("stream", STREAMS)
@pytest.mark.parametrize("used", [0.0, 1e9])
def test_a_large_request_is_served_however_many_come(
    stream: Callable[[Site], None], used: float
) -> None:
    """Even of the heaviest user: when it has waited for TOP hours nobody passes it any more."""
    site = Site(devices(4), usage={"ada": used})
    site.ask(3, user="first", term=LONGEST)
    site.serve()
    large = site.ask(4, user="ada", term=HOUR)
    while large not in site.served:
        stream(site)
        site.serve()
        site.step()
        assert site.now <= NOW + TOP * HOUR + LONGEST + STEP
    if used and stream is small_ones:  # so there was something to stand up to
        assert any(number > large for number in site.served)


def test_light_users_are_served_at_once_beside_a_heavy_one() -> None:
    """Until the heavy one's requests are an hour old, which is worth a priority."""
    site = Site(devices(2), usage={"heavy": 1e6})
    for _ in range(20):
        site.ask(1, user="heavy", term=STEP)
    while site.now < NOW + HOUR:
        light = site.ask(1, term=STEP)
        site.serve()
        assert light in site.served
        site.step()


def test_a_request_for_one_kind_waits_while_another_kind_is_served_large_ones_first() -> None:
    site = Site([*devices(1, "A100"), *devices(4, "H100")])
    site.leases.append(Lease("for-ever", "x", "", LeaseState.RUNNING, ("A100-0",), NOW - LONGEST))
    stuck = site.ask(1, model="a100", term=HOUR)
    for _ in range(6):
        site.ask(1, model="h100", term=HOUR)
    site.serve()
    assert len(site.served) == 4
    large = site.ask(4, model="h100", term=HOUR)
    while large not in site.served:
        site.ask(1, model="h100", term=HOUR)
        site.serve()
        site.step()
        assert site.now <= NOW + 4 * HOUR
    assert stuck not in site.served


@given(
    st.lists(
        st.tuples(st.integers(1, 4), st.integers(1, 6), st.integers(0, 12)),
        min_size=1,
        max_size=14,
    )
)
def test_who_waits_is_served_within_bounds_in_any_stream(
    arrivals: list[tuple[int, int, int]],
) -> None:
    """(GPUs, half-hours, priority up to 10 or heavy user) one per step, four devices."""
    site = Site(devices(4))
    due: dict[int, datetime] = {}
    for gpus, halves, what in arrivals:
        term = halves * STEP
        number = site.ask(gpus, term=term, priority=min(what, 10))
        site.usage[f"u{number}"] = 1e6 if what > 10 else 0.0
        # at TOP after this; then behind those that came earlier, each for its term at most
        ahead = sum((STEP * each[1] for each in arrivals), timedelta(0))
        due[number] = site.now + (TOP - min(what, 10)) * HOUR + ahead + STEP * 6
        site.serve()
        site.step()
    while site.queue:
        site.serve()
        site.step()
        late = [each.sequence for each in site.queue if site.now > due[each.sequence]]
        assert not late


@given(
    st.lists(st.integers(0, 6), min_size=4, max_size=4),
    st.lists(st.tuples(st.integers(1, 4), st.integers(1, 8)), min_size=1, max_size=10),
)
def test_backfill_delays_nobody_who_is_first(
    left: list[int], waiting: list[tuple[int, int]]
) -> None:
    """All leases last to their end, nobody comes: what the first is told only gets better."""
    site = Site(devices(4))
    for number, halves in enumerate(left):
        if halves:
            uuid, end = f"A100-{number}", NOW + halves * STEP
            held = Lease(f"held-{number}", "x", "", LeaseState.RUNNING, (uuid,), NOW - 2 * HOUR)
            site.leases.append(replace(held, expires_at=end))
    for gpus, halves in waiting:
        site.ask(gpus, term=halves * STEP)
    told: dict[int, datetime] = {}
    while site.queue:
        before = line_up(site.snapshot())
        site.serve()
        for number, at in site.served.items():
            assert at <= told.get(number, at)
        unserved = [place for place in before if place.entry.sequence not in site.served]
        reserved = decide(site.snapshot()).reservations
        if unserved:
            first = unserved[0].entry
            at = unserved[0].eta.at
            assert at is not None and at <= told.get(first.sequence, at)
            told[first.sequence] = at
            mine = reserved.get((first.request.user, first.request.server))
            assert mine is None or mine.at == at
        site.step()
