"""Placement and the line: whose turn it is, and which devices they get."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from hub_ext.fair_queue import decide, grant, line_up, place_of
from hub_ext.models import Device, DeviceRecord, DeviceState, QueueEntry, Request, Snapshot
from hub_ext.placement import choose as choose_for
from hub_ext.placement import free_devices, promised_count, usable_count
from hub_ext.policy import Policy

NOW = datetime(2026, 11, 24, tzinfo=UTC)


def record(
    uuid: str,
    *,
    name: str = "A100",
    state: DeviceState = DeviceState.HEALTHY,
    leases: tuple[str, ...] = (),
) -> DeviceRecord:
    return DeviceRecord(Device(uuid, name, 80), state, NOW, lease_ids=leases)


def choose(devices: Iterable[DeviceRecord], gpus: int) -> tuple[str, ...] | None:
    return choose_for(devices, Request("ada", "", gpus), Policy())


def queue(*gpus: int) -> tuple[QueueEntry, ...]:
    return tuple(
        QueueEntry(Request(f"user{number}", "", wanted), number, NOW)
        for number, wanted in enumerate(gpus)
    )


def test_free_are_the_healthy_without_a_lease_in_order_of_uuid() -> None:
    devices = (
        record("d"),
        record("a", leases=("l",)),
        record("b", state=DeviceState.MISSING),
        record("e", state=DeviceState.QUARANTINED),
        record("c"),
    )
    assert [each.device.uuid for each in free_devices(devices)] == ["c", "d"]
    assert usable_count(devices) == 3
    assert promised_count(devices) == 4


def test_a_driver_that_is_away_promises_what_was_there() -> None:
    assert promised_count([record("a", state=DeviceState.MISSING)]) == 1
    assert promised_count([]) == 0


def test_all_or_none() -> None:
    devices = (record("a"), record("b", leases=("l",)))
    assert choose(devices, 0) == ()
    assert choose(devices, 1) == ("a",)
    assert choose(devices, 2) is None


def test_devices_of_one_kind_and_the_tightest_fit() -> None:
    devices = [record(f"a{n}", name="A100") for n in range(4)]
    devices += [record(f"h{n}", name="H100") for n in range(2)]
    assert choose(devices, 1) == ("h0",)
    assert choose(devices, 2) == ("h0", "h1")
    assert choose(devices, 3) == ("a0", "a1", "a2")
    mixed = choose(devices, 5)
    assert mixed is not None and len(set(mixed)) == 5


RECORDS = st.lists(
    st.builds(
        record,
        st.uuids().map(str),
        name=st.sampled_from(["A100", "H100"]),
        state=st.sampled_from(DeviceState),
        leases=st.sampled_from([(), ("l",)]),
    ),
    max_size=8,
    unique_by=lambda each: each.device.uuid,
)


@given(RECORDS, st.integers(0, 9), st.randoms())
def test_a_choice_is_free_distinct_and_depends_on_nothing_else(
    devices: list[DeviceRecord], gpus: int, random: object
) -> None:
    chosen = choose(devices, gpus)
    free = {each.device.uuid for each in free_devices(devices)}
    if chosen is None:
        assert gpus > len(free)
        return
    assert len(chosen) == len(set(chosen)) == gpus
    assert free.issuperset(chosen)
    shuffled = list(devices)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert choose(shuffled, gpus) == chosen


def test_the_order_is_that_of_arrival() -> None:
    waiting = queue(1, 0, 2, 1)
    devices = (record("a"), record("b"))
    places = line_up(Snapshot(devices, waiting[::-1]))
    assert [(place.entry.request.user, place.position) for place in places] == [
        ("user0", 1),
        ("user2", 2),
        ("user3", 3),
    ]


def test_who_comes_after_one_that_waits_does_not_overtake() -> None:
    seen = Snapshot((record("a"), record("b", leases=("l",))), queue(2, 1))
    assert grant(seen, Request("user0", "", 2)) is None  # needs both
    assert grant(seen, Request("user1", "", 1)) is None  # would overtake
    assert grant(seen, Request("user2", "", 0)) == ()  # takes none
    assert grant(seen, Request("stranger", "", 1)) is None  # does not wait


def test_the_line_passes_a_request_that_cannot_be_served_now() -> None:
    devices = (record("a"), record("b", state=DeviceState.QUARANTINED))
    seen = Snapshot(devices, queue(2, 1))
    assert grant(seen, Request("user1", "", 1)) == ("a",)
    place = place_of(seen, Request("user0", "", 2))
    assert place is not None and place.position == 2
    repaired = Snapshot((record("a"), record("b")), queue(2, 1))
    assert grant(repaired, Request("user0", "", 2)) == ("a", "b")


def test_named_servers_of_one_user_wait_apart() -> None:
    entries = tuple(
        QueueEntry(Request("ada", server, 1), number, NOW) for number, server in enumerate("xy")
    )
    seen = Snapshot((record("a"),), entries)
    assert grant(seen, Request("ada", "x", 1)) == ("a",)
    assert grant(seen, Request("ada", "y", 1)) is None


@given(RECORDS, st.lists(st.integers(0, 4), max_size=6))
def test_nobody_starves(devices: list[DeviceRecord], wanted: list[int]) -> None:
    """Serve whoever may be served, end all leases, again: everyone who can be served is."""
    usable = usable_count(devices)
    waiting = list(queue(*wanted))
    for _round in range(len(waiting)):
        all_free = tuple(
            record(each.device.uuid, name=each.device.name, state=each.state) for each in devices
        )
        seen = Snapshot(all_free, tuple(waiting))
        waiting = [entry for entry in waiting if grant(seen, entry.request) is None]
    assert [entry for entry in waiting if entry.request.gpus <= usable] == []


def test_all_that_can_be_served_are_and_disjointly() -> None:
    seen = Snapshot(tuple(record(uuid) for uuid in "abcd"), queue(2, 1, 2, 1))
    assert decide(seen).grants == {("user0", ""): ("a", "b"), ("user1", ""): ("c",)}
    assert decide(seen).reservations[("user2", "")].device_uuids == ("d", "a")
