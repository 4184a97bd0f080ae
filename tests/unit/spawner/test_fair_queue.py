"""Whose turn it is, by example: order, reservations, backfill, limits of groups, orphans."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import pytest
from lines import HOUR, NOW, device, entry, lease, record, snapshot

from hub_ext.fair_queue import Decision, Reservation, decide, grant, line_up, place_of
from hub_ext.models import Cordon, DeviceState, QueueEntry, Request, Snapshot
from hub_ext.policy import GroupLimits, Policy, Pool

MINUTE = timedelta(minutes=1)
CAMP = Policy(group_limits={"camp": GroupLimits(max_devices=2)})


def positions(seen: Snapshot) -> list[int]:
    """The numbers of the entries, first to be served first."""
    return [place.entry.sequence for place in line_up(seen)]


def granted(decision: Decision) -> dict[str, tuple[str, ...]]:
    return {user: uuids for (user, _server), uuids in decision.grants.items()}


def site(
    free: Sequence[str], held: dict[str, timedelta | None], *queue: QueueEntry, **more: object
) -> Snapshot:
    """Free devices, and others whose leases have so much to go."""
    leases = [lease(f"of-{uuid}", uuid, left=left) for uuid, left in held.items()]
    records = [record(uuid) for uuid in free] + [record(uuid, f"of-{uuid}") for uuid in held]
    return snapshot(records, queue, leases, **more)


# -- order


def test_who_comes_first_is_first() -> None:
    queue = [entry(2, gpus=2), entry(0), entry(1, gpus=0), entry(3)]
    assert positions(snapshot([record("a"), record("b")], queue)) == [0, 2, 3]


def test_who_had_less_of_late_goes_first() -> None:
    seen = snapshot([record("a")], [entry(0), entry(1)], usage={"u0": 60.0, "u1": 59.0})
    assert positions(seen) == [1, 0]


def test_priority_goes_first_and_every_hour_of_waiting_is_worth_one() -> None:
    queue = [entry(0, waited=HOUR - MINUTE), entry(1, priority=1)]
    assert positions(snapshot([record("a")], queue)) == [1, 0]
    queue = [entry(0, waited=HOUR), entry(1, priority=1)]
    assert positions(snapshot([record("a")], queue, usage={"u0": 9.0})) == [1, 0]  # equal now
    assert positions(snapshot([record("a")], queue, usage={"u1": 9.0})) == [0, 1]


def test_at_the_top_the_order_is_that_of_arrival() -> None:
    queue = [
        entry(0, waited=11 * HOUR),
        entry(1, priority=10, waited=HOUR),
        entry(2, priority=10, waited=59 * MINUTE),
        entry(3, priority=10, waited=50 * MINUTE),
    ]
    usage = {"u0": 1e9, "u1": 0.0, "u2": 5.0, "u3": 0.0}
    assert positions(snapshot([record("a")], queue, usage=usage)) == [0, 1, 3, 2]


def test_several_requests_of_one_user_do_not_go_before_the_first_of_another() -> None:
    queue = [entry(n, user="ada") for n in range(3)] + [entry(3, user="lin"), entry(4, user="kim")]
    assert positions(snapshot([record("a")], queue)) == [0, 3, 4, 1, 2]


def test_a_lease_counts_for_an_hour_from_its_start() -> None:
    """Ada was just served, so that she has used nothing yet; Lin has used ten minutes."""
    young = lease("x", "a", user="ada", ran=timedelta(0))
    queue = [entry(1, user="ada"), entry(2, user="lin")]
    seen = snapshot([record("a", "x"), record("b")], queue, [young], usage={"lin": 600.0})
    assert positions(seen) == [2, 1]
    assert granted(decide(seen)) == {"lin": ("b",)}


def test_a_slot_counts_as_its_part_of_a_device() -> None:
    item = device("s", shared=True, slots=4)
    young = [
        lease("x", "s", user="ada", ran=timedelta(0), shared=True),
        lease("y", "a", user="lin", ran=30 * MINUTE),
    ]
    queue = [entry(0, user="lin"), entry(1, user="ada")]
    seen = snapshot([record(item, "x"), record("a", "y")], queue, young)
    assert positions(seen) == [1, 0]  # 900 against 1800 device-seconds to come


# -- grants


def test_all_that_can_be_served_are_and_disjointly() -> None:
    queue = [entry(0, 2), entry(1), entry(2, 2), entry(3, term=None)]
    decision = decide(snapshot([record(uuid) for uuid in "abcd"], queue))
    assert granted(decision) == {"u0": ("a", "b"), "u1": ("c",)}


def test_grant_is_for_who_waits_or_wants_nothing() -> None:
    seen = snapshot([record("a")], [entry(0)])
    assert grant(seen, entry(0).request) == ("a",)
    assert grant(seen, entry(1).request) is None
    assert grant(seen, entry(1, gpus=0).request) == ()


def test_named_servers_of_one_user_wait_apart() -> None:
    queue = [entry(0, user="ada"), entry(1, user="ada")]
    seen = snapshot([record("a")], queue)
    assert [grant(seen, each.request) for each in queue] == [("a",), None]
    place = place_of(seen, queue[1].request)
    assert place is not None and place.position == 2
    assert place_of(seen, Request("ada", "x", 1)) is None


def test_the_line_passes_who_cannot_be_served_now() -> None:
    devices = [record("a"), record("b", state=DeviceState.QUARANTINED)]
    queue = [entry(0, 2), entry(1)]
    seen = snapshot(devices, queue)
    assert granted(decide(seen)) == {"u1": ("a",)}
    assert positions(seen) == [1, 0]
    assert granted(decide(snapshot([record("a"), record("b")], queue))) == {"u0": ("a", "b")}


def test_a_cordoned_device_is_not_given_nor_waited_for() -> None:
    devices = [record("a"), record("b", cordon=Cordon.CORDONED)]
    assert granted(decide(snapshot(devices, [entry(0, 2), entry(1)]))) == {"u1": ("a",)}


def test_waiting_for_one_kind_keeps_nobody_from_another() -> None:
    kinds = {"h": "H100", "a": "A100"}
    records = [record(device(f"h{n}", kinds["h"])) for n in range(2)]
    records += [record(device("a0", kinds["a"]), "x")]
    queue = [
        entry(0, model="a100", waited=20 * HOUR),
        entry(1, 4, model="h100"),  # more than there are: passed
        entry(2, 2, model="h100"),
        entry(3, 1, model="h100"),
    ]
    seen = snapshot(records, queue, [lease("x", "a0", left=None)])
    assert granted(decide(seen)) == {"u2": ("h0", "h1")}
    assert positions(seen) == [0, 2, 3, 1]


# -- reservations and backfill


def test_a_reservation_builds_up() -> None:
    held = {"b": HOUR, "c": 2 * HOUR, "d": 3 * HOUR}
    queue = [entry(0, 3), entry(1), entry(2)]
    first = decide(site("a", held, *queue))
    assert granted(first) == {}
    assert first.reservations == {("u0", "0"): Reservation(("a", "b", "c"), NOW + 2 * HOUR)}
    del held["b"]
    second = decide(site("ab", held, *queue))
    assert granted(second) == {}
    assert second.reservations == {("u0", "0"): Reservation(("a", "b", "c"), NOW + 2 * HOUR)}
    del held["d"]  # earlier than expected
    assert granted(decide(site("abd", held, *queue))) == {"u0": ("a", "b", "d")}


@pytest.mark.parametrize(("term", "served"), [(HOUR, True), (HOUR + MINUTE, False), (None, False)])
def test_whoever_is_done_in_time_goes_first(term: timedelta | None, served: bool) -> None:
    decision = decide(site("a", {"b": HOUR}, entry(0, 2), entry(1, term=term)))
    assert granted(decision) == ({"u1": ("a",)} if served else {})
    assert decision.reservations["u0", "0"] == Reservation(("a", "b"), NOW + HOUR)


def test_nobody_goes_first_if_nobody_knows_how_long_there_is() -> None:
    decision = decide(site("a", {"b": None}, entry(0, 2), entry(1, term=MINUTE)))
    assert granted(decision) == {}
    assert decision.reservations["u0", "0"] == Reservation(("a", "b"), None)


def test_history_ends_a_reservation_sooner_than_deadlines() -> None:
    """The lease ran two hours of usually three: an hour is left, though it may take four."""
    queue = [entry(0, 2), entry(1, term=HOUR + MINUTE), entry(2, term=HOUR)]
    decision = decide(site("a", {"b": 4 * HOUR}, *queue, typical_lease=3 * HOUR))
    assert granted(decision) == {"u2": ("a",)}
    assert decision.reservations["u0", "0"].at == NOW + HOUR


def test_each_shape_has_one_reservation_of_devices_of_its_own() -> None:
    queue = [entry(0, 3), entry(1, 3), entry(2, 2, model="h100"), entry(3, term=MINUTE)]
    records = [record("a"), record("b", "x"), record("c", "x")]
    records += [record(device("h0", "H100")), record(device("h1", "H100"), "y")]
    leases = [lease("x", "b", "c", left=HOUR), lease("y", "h1", left=2 * HOUR)]
    decision = decide(snapshot(records, queue, leases))
    # u0 may have either kind: what is free first
    assert decision.reservations == {("u0", "0"): Reservation(("a", "h0", "b"), NOW + HOUR)}
    assert granted(decision) == {"u3": ("a",)}


def test_who_gets_nothing_now_is_before_those_behind_in_what_is_expected() -> None:
    """u0 will have h0 first, so u1's second device is there only after u0's term."""
    records = [record(device("h0", "H100"), "x"), record("a")]
    queue = [entry(0, model="h100", term=3 * HOUR), entry(1, 2), entry(2, term=4 * HOUR)]
    decision = decide(snapshot(records, queue, [lease("x", "h0", left=HOUR)]))
    assert decision.reservations["u1", "1"].at == NOW + 4 * HOUR
    assert granted(decision) == {"u2": ("a",)}


def test_backfill_on_slots() -> None:
    items = [device(f"s{n}", shared=True, slots=2) for n in range(2)]
    records = [record(items[0], "x"), record(items[1], "y", "z")]
    leases = [
        lease(name, uuid, left=HOUR) for name, uuid in zip("xyz", ("s0", "s1", "s1"), strict=True)
    ]
    queue = [entry(0, 2, share=True), entry(1, share=True), entry(2, share=True, term=HOUR)]
    decision = decide(snapshot(records, queue, leases))
    assert granted(decision) == {"u2": ("s0",)}
    assert decision.reservations["u0", "0"] == Reservation(("s0", "s1"), NOW + HOUR)


# -- limits of groups


def test_a_groups_limit_holds_and_stops_nobody_else() -> None:
    queue = [entry(n, groups=("camp",)) for n in range(3)] + [entry(3)]
    decision = decide(snapshot([record(uuid) for uuid in "abcd"], queue, policy=CAMP))
    assert set(granted(decision)) == {"u0", "u1", "u3"}


def test_live_leases_count_for_the_groups_limit() -> None:
    held = lease("x", "d", groups=("camp", "all"))
    queue = [entry(n, groups=("camp",)) for n in range(2)]
    records = [record("a"), record("b"), record("d", "x")]
    assert set(granted(decide(snapshot(records, queue, [held], policy=CAMP)))) == {"u0"}


def test_small_requests_of_a_group_do_not_pass_a_large_one_that_its_limit_stops() -> None:
    held = lease("x", "d", groups=("camp",))
    queue = [entry(0, 2, groups=("camp",)), entry(1, groups=("camp",)), entry(2)]
    records = [record("a"), record("b"), record("c"), record("d", "x")]
    seen = snapshot(records, queue, [held], policy=CAMP)
    assert set(granted(decide(seen))) == {"u2"}


def test_what_is_reserved_counts_for_the_groups_limit() -> None:
    queue = [entry(0, 2, groups=("camp",)), entry(1, 1, groups=("camp",), term=MINUTE)]
    decision = decide(site("a", {"b": HOUR}, *queue, policy=CAMP))
    assert granted(decision) == {}


def test_more_than_the_group_ever_may_have_is_passed() -> None:
    queue = [entry(0, 3, groups=("camp",)), entry(1, 2, groups=("camp",))]
    seen = snapshot([record(uuid) for uuid in "abcd"], queue, policy=CAMP)
    assert set(granted(decide(seen))) == {"u1"}
    assert positions(seen) == [1, 0]


def test_slots_count_as_parts_for_the_groups_limit() -> None:
    items = [device(f"s{n}", shared=True, slots=4) for n in range(3)]
    queue = [entry(n, share=True, groups=("camp",)) for n in range(12)]
    decision = decide(snapshot([record(each) for each in items], queue, policy=CAMP))
    assert len(decision.grants) == 8


def test_pools_are_for_their_groups() -> None:
    policy = Policy(pools=(Pool("staff", ("a",), groups=("staff",)),))
    records = [record(device("a", pool="staff"))]
    queue = [entry(0), entry(1, groups=("staff",))]
    assert set(granted(decide(snapshot(records, queue, policy=policy)))) == {"u1"}


# -- orphans


def test_an_orphan_keeps_its_place_and_what_it_would_get_for_two_minutes() -> None:
    queue = [entry(0, waiter="old"), entry(1, waiter="new")]
    soon = snapshot([record("a")], queue, run="new", run_since=NOW - timedelta(seconds=119))
    assert positions(soon) == [0, 1]
    assert decide(soon) == Decision({}, {("u0", "0"): Reservation(("a",), NOW)})
    late = snapshot([record("a")], queue, run="new", run_since=NOW - timedelta(seconds=120))
    assert positions(late) == [1]
    assert granted(decide(late)) == {"u1": ("a",)}
    taken_up = [entry(0, waiter="new"), queue[1]]
    again = snapshot([record("a")], taken_up, run="new", run_since=NOW - timedelta(seconds=119))
    assert granted(decide(again)) == {"u0": ("a",)}


# -- when


def etas(seen: Snapshot) -> list[tuple[timedelta | None, str]]:
    found = [place.eta for place in line_up(seen)]
    return [(eta.at and eta.at - NOW, eta.basis) for eta in found]


def test_who_is_served_is_served_now() -> None:
    assert etas(site("a", {}, entry(0))) == [(timedelta(0), "")]


def test_one_after_another() -> None:
    queue = [entry(n, term=4 * HOUR) for n in range(3)]
    held = {"a": HOUR, "b": 3 * HOUR}
    expected = [(HOUR, "deadline"), (3 * HOUR, "deadline"), (5 * HOUR, "deadline")]
    assert etas(site("", held, *queue)) == expected


def test_history_where_it_is_sooner_and_not_over() -> None:
    queue = [entry(0), entry(1)]
    seen = site("", {"a": 6 * HOUR}, *queue, typical_lease=3 * HOUR)
    assert etas(seen) == [(HOUR, "history"), (4 * HOUR, "history")]
    over = site("", {"a": 6 * HOUR}, entry(0), typical_lease=HOUR)
    assert etas(over) == [(6 * HOUR, "deadline")]
    endless = site("", {"a": None}, entry(0), typical_lease=3 * HOUR)
    assert etas(endless) == [(HOUR, "history")]


def test_unknown_when_nobody_can_say() -> None:
    assert etas(site("", {"a": None}, entry(0))) == [(None, "")]
    assert etas(site("", {"a": None}, entry(0), typical_lease=HOUR)) == [(None, "")]
    # the second waits for the first, which has no end
    queue = [entry(0, term=None), entry(1)]
    assert etas(site("", {"a": HOUR}, *queue)) == [(HOUR, "deadline"), (None, "")]


def test_a_lease_that_is_overdue_may_end_at_any_moment() -> None:
    assert etas(site("", {"a": -HOUR}, entry(0))) == [(timedelta(0), "deadline")]


def test_a_large_request_waits_for_the_last_of_its_devices() -> None:
    held = {"a": HOUR, "b": 5 * HOUR, "c": 3 * HOUR}
    assert etas(site("", held, entry(0, 2))) == [(3 * HOUR, "deadline")]


def test_slots_of_different_devices() -> None:
    items = [device(f"s{n}", shared=True, slots=2) for n in range(2)]
    records = [record(items[0], "v", "w"), record(items[1], "x", "y")]
    leases = [
        lease(name, uuid, left=hours * HOUR)
        for name, uuid, hours in (("v", "s0", 1), ("w", "s0", 2), ("x", "s1", 3), ("y", "s1", 4))
    ]
    queue = [entry(0, 2, share=True), entry(1, share=True)]
    assert etas(snapshot(records, queue, leases)) == [
        (3 * HOUR, "deadline"),
        (2 * HOUR, "deadline"),
    ]


def test_a_groups_limit_is_waited_for() -> None:
    held = {"c": HOUR, "d": 2 * HOUR}
    leases = [lease(f"of-{u}", u, left=left, groups=("camp",)) for u, left in held.items()]
    records = [record("a"), record("b")] + [record(u, f"of-{u}") for u in held]
    queue = [entry(0, groups=("camp",)), entry(1, groups=("camp",)), entry(2)]
    seen = snapshot(records, queue, leases, policy=CAMP)
    assert etas(seen) == [(HOUR, "deadline"), (2 * HOUR, "deadline"), (timedelta(0), "")]


def test_who_cannot_be_served_has_no_time() -> None:
    assert etas(site("", {"a": HOUR}, entry(0, 2), entry(1))) == [
        (HOUR, "deadline"),
        (None, ""),
    ]


def test_far_behind_no_time_is_worked_out() -> None:
    found = etas(site("", {"a": HOUR}, *(entry(n) for n in range(250))))
    assert [at is None for at, _basis in found] == [False] * 200 + [True] * 50
