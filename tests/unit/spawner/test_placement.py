"""Placement: which devices suit a request, and which free ones it gets."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lines import GIB, device, linked, node, record

from hub_ext.models import Cordon, Device, DeviceRecord, DeviceState, Link, Request
from hub_ext.placement import (
    Capacity,
    capacity,
    choose,
    free_count,
    free_devices,
    promised_count,
    suits,
    usable_count,
)
from hub_ext.policy import Policy, Pool
from hub_ext.stock import lots_of, take
from hub_ext.topology import cells

POOLS = Policy(
    pools=(
        Pool("teachers", ("t1", "t2"), groups=("teachers",)),
        Pool("shared", ("s1", "s2", "s3"), slots=3),
    )
)
SLICE = device("m1", "A100 MIG 1g.10gb", 10, parent="card")


def ask(gpus: int = 1, **more: Any) -> Request:
    return Request("ada", "", gpus, **more)


def records(*items: Device | str) -> list[DeviceRecord]:
    return [record(each) for each in items]


def chosen(devices: list[DeviceRecord], request: Request, policy: Policy = POOLS) -> list[str]:
    found = choose(devices, request, policy)
    assert found is not None
    return list(found)


# -- what suits


@pytest.mark.parametrize(
    ("what", "request_", "fits"),
    [
        (device("a", "NVIDIA A100-SXM4-80GB"), ask(model="a100"), True),
        (device("a", "NVIDIA A100-SXM4-80GB"), ask(model="H100"), False),
        (device("a", gib=40), ask(min_memory_bytes=40 * GIB), True),
        (device("a", gib=40), ask(min_memory_bytes=40 * GIB + 1), False),
        (SLICE, ask(1, model="A100"), True),
        (SLICE, ask(2), False),
        (device("s1", shared=True, slots=3), ask(share=True), True),
        (device("s1", shared=True, slots=3), ask(), False),
        (device("a"), ask(share=True), False),
        (device("t1", pool="teachers"), ask(), False),
        (device("t1", pool="teachers"), ask(groups=("all", "teachers")), True),
        (device("x", pool="dropped"), ask(), True),
    ],
)
def test_suits(what: Device, request_: Request, fits: bool) -> None:
    assert suits(what, request_, POOLS) is fits


def test_only_devices_in_order_that_nobody_has_are_free() -> None:
    devices = [
        record("d"),
        record("a", "lease"),
        record("b", state=DeviceState.MISSING),
        record("e", state=DeviceState.QUARANTINED),
        record("f", cordon=Cordon.CORDONED),
        record("g", cordon=Cordon.DRAINING),
        record("c"),
    ]
    assert [each.device.uuid for each in free_devices(devices)] == ["c", "d"]
    assert choose(devices, ask(2), POOLS) == ("c", "d")
    assert choose(devices, ask(3), POOLS) is None
    assert (usable_count(devices), promised_count(devices)) == (3, 6)
    assert free_count(devices, ask(), POOLS) == 2


def test_counts_for_a_request() -> None:
    devices = [
        record("a"),
        record(device("h", "H100")),
        record(device("s1", shared=True, slots=2, pool="shared"), "one"),
        record(device("s2", shared=True, slots=2, pool="shared"), "one", "two"),
        record(device("h2", "H100"), state=DeviceState.QUARANTINED),
    ]
    h100, slot = ask(model="h100"), ask(share=True)
    assert usable_count(devices, h100, POOLS) == 1
    assert promised_count(devices, h100, POOLS) == 2
    assert usable_count(devices, slot, POOLS) == 2
    assert free_count(devices, slot, POOLS) == 1


def test_a_driver_that_is_away_promises_what_was_there() -> None:
    assert promised_count([record("a", state=DeviceState.MISSING)]) == 1
    assert promised_count([]) == 0


def test_capacity_is_what_a_refusal_needs() -> None:
    devices = records(
        device("a1"),
        device("a2", gib=40),
        device("h1", "H100", 94),
        SLICE,
        device("t1", "B200", 180, pool="teachers"),
        device("s1", "L4", 24, shared=True, slots=3, pool="shared"),
    )
    names = ("A100", "A100 MIG 1g.10gb", "H100")
    assert capacity(devices, ask(5), POOLS) == Capacity(3, 4, 94 * GIB, names)
    assert capacity(devices, ask(1, model="a100", min_memory_bytes=64 * GIB), POOLS) == Capacity(
        1, 1, 80 * GIB, names
    )
    assert capacity(devices, ask(share=True, model="x"), POOLS) == Capacity(0, 0, 0, ("L4",))


# -- which of them


def test_all_or_none() -> None:
    devices = [record("a"), record("b", "lease")]
    assert choose(devices, ask(0), POOLS) == ()
    assert choose(devices, ask(1), POOLS) == ("a",)
    assert choose(devices, ask(2), POOLS) is None


def test_devices_of_one_kind_and_the_tightest_fit() -> None:
    devices = records(*(device(f"a{n}", "A100") for n in range(4)))
    devices += records(*(device(f"h{n}", "H100") for n in range(2)))
    assert chosen(devices, ask(1)) == ["h0"]
    assert chosen(devices, ask(2)) == ["h0", "h1"]
    assert chosen(devices, ask(3)) == ["a0", "a1", "a2"]
    assert chosen(devices, ask(5)) == ["a0", "a1", "a2", "a3", "h0"]
    assert choose(devices, ask(7), POOLS) is None


def test_no_more_kinds_are_mixed_than_needed() -> None:
    devices = records("a1", device("h1", "H100"), *(device(f"l{n}", "L4") for n in range(3)))
    assert chosen(devices, ask(4)) == ["a1", "l0", "l1", "l2"]


def test_who_asks_for_memory_gets_the_smallest_that_is_enough() -> None:
    devices = records(device("a", gib=80), device("b", gib=40), device("c", gib=40), "d", "e")
    assert chosen(devices, ask(1, min_memory_bytes=30 * GIB)) == ["b"]
    assert chosen(devices, ask(2, min_memory_bytes=30 * GIB)) == ["b", "c"]


def test_what_few_may_have_goes_to_them_first() -> None:
    devices = records("a", device("t1", pool="teachers"), device("t2", pool="teachers"))
    assert chosen(devices, ask(1)) == ["a"]
    assert chosen(devices, ask(1, groups=("teachers",))) == ["t1"]
    assert chosen(devices, ask(3, groups=("teachers",))) == ["a", "t1", "t2"]
    assert choose(devices, ask(2), POOLS) is None


def test_a_single_device_is_a_mig_instance_first() -> None:
    devices = records("a", SLICE)
    assert chosen(devices, ask(1)) == ["m1"]
    assert chosen(devices, ask(1, min_memory_bytes=20 * GIB)) == ["a"]
    assert choose(devices, ask(2), POOLS) is None


# -- sharing


def shared(uuid: str, *leases: str) -> DeviceRecord:
    return record(device(uuid, shared=True, slots=3, pool="shared"), *leases)


def test_slots_are_taken_where_the_fewest_share() -> None:
    devices = [shared("s1", "x", "y"), shared("s2", "x"), shared("s3", "x", "y", "z"), record("a")]
    assert chosen(devices, ask(1, share=True)) == ["s2"]
    assert chosen(devices, ask(2, share=True)) == ["s1", "s2"]  # different devices
    assert choose(devices, ask(3, share=True), POOLS) is None


def test_all_slots_can_be_taken_and_no_more() -> None:
    lots = lots_of([shared("s1", "x"), shared("s2")], POOLS)
    taken = [take(lots, 1) for _ in range(6)]
    assert taken == [("s2",), ("s1",), ("s2",), ("s1",), ("s2",), None]


def test_slots_of_several_kinds_are_mixed_when_one_is_not_enough() -> None:
    other = record(device("s4", "L4", shared=True, slots=2, pool="shared"))
    lots = lots_of([shared("s1"), shared("s2", "x"), other], POOLS)
    assert take(lots, 3) == ("s1", "s2", "s4")
    assert take(lots, 3) == ("s1", "s2", "s4")
    assert take(lots, 3) is None


# -- links


def test_the_best_worst_link_wins_over_the_best_total() -> None:
    links = {(0, 1): 40, (1, 2): 40, (0, 2): 40, (2, 3): 112, (3, 4): 112, (2, 4): 20}
    devices = records(*linked("abcde", links))
    assert chosen(devices, ask(2)) == ["d", "e"]  # breaks less than c and d
    assert chosen(devices, ask(3)) == ["a", "b", "c"]


def test_among_equal_links_one_numa_node() -> None:
    devices = records(*(device(uuid, numa_node=int(uuid in "bd")) for uuid in "abcd"))
    assert chosen(devices, ask(2)) == ["a", "c"]


def test_a_good_link_is_worth_the_larger_kind() -> None:
    pair = linked(["h1", "h2", "h3"], {(0, 1): 112}, name="H100")
    assert chosen(records("a", "b", *pair), ask(2)) == ["h1", "h2"]


def test_a_single_device_breaks_the_fewest_links() -> None:
    devices = records(*node("x"), *node("y")[:3], *node("z")[:4])
    assert chosen(devices, ask(1)) == ["y-0"]
    assert chosen([*devices, record("single")], ask(1)) == ["single"]


def test_a_pair_leaves_whole_hosts_whole() -> None:
    devices = records(*node("x"), *node("y")[:3], *node("z")[:4])
    assert chosen(devices, ask(2)) == ["y-0", "y-1"]
    assert chosen(devices, ask(4)) == [f"z-{n}" for n in range(4)]
    assert chosen(devices, ask(5)) == [f"x-{n}" for n in range(5)]


def test_more_than_a_host_has_is_whole_hosts_and_the_best_rest() -> None:
    devices = records(*node("x"), *node("y", 3), *node("z", 5))
    assert chosen(devices, ask(11)) == sorted([f"x-{n}" for n in range(8)] + ["y-0", "y-1", "y-2"])


def test_hosts_fill_up_one_after_another() -> None:
    """Pairs and singles taken one by one from many hosts leave the others whole."""
    lots = lots_of(records(*(each for n in range(20) for each in node(f"h{n:02}"))), Policy())
    for count in (2, 1, 2, 1, 2):  # 8 together
        taken = take(lots, count)
        assert taken is not None and {uuid[:3] for uuid in taken} == {"h00"}
    assert take(lots, 8) == tuple(f"h01-{n}" for n in range(8))


def test_nvlink_pairs_on_two_sockets() -> None:
    """A pair is a pair, and a single one is of a pair that is broken already."""
    links = {(a, b): int(Link.OTHER_SOCKET) for a in range(4) for b in range(a)}
    links |= {(1, 0): 112, (3, 2): 112}
    devices = records(*linked("abcd", links))
    assert chosen(devices, ask(2)) == ["a", "b"]
    assert chosen(devices[1:], ask(1)) == ["b"]
    assert chosen(devices[1:], ask(2)) == ["c", "d"]


@st.composite
def linked_devices(draw: st.DrawFn) -> list[Device]:
    size = draw(st.integers(1, 7))
    pairs = [(one, two) for one in range(size) for two in range(one)]
    score = st.sampled_from([0, 10, 20, 40, 100, 101])
    links = {pair: draw(score) for pair in pairs}
    found = linked("abcdefg"[:size], links)
    nodes = [draw(st.sampled_from([None, 0, 1])) for _ in found]
    names = [draw(st.sampled_from(["A100", "H100"])) for _ in found]
    return [
        device(each.uuid, name, links=each.links, numa_node=numa)
        for each, numa, name in zip(found, nodes, names, strict=True)
    ]


def rating(devices: list[Device], free: list[Device], room: int) -> tuple[object, ...]:
    """What the module promises to minimise, worked out for one set."""
    of = {each.uuid: dict(each.links) for each in free}
    pairs = [of[a.uuid].get(b.uuid, 0) for a, b in combinations(devices, 2)]
    rest = [each for each in free if each not in devices]
    broken = sum(of[a.uuid].get(b.uuid, 0) for a in devices for b in rest)
    nodes = len({each.numa_node for each in devices})
    return (-min(pairs, default=0), -sum(pairs), nodes, broken, room)


@given(linked_devices(), st.integers(1, 7))
def test_the_choice_is_the_best_of_all(devices: list[Device], gpus: int) -> None:
    kinds = [[each for each in devices if each.name == name] for name in ("A100", "H100")]
    sets = [
        (rating(list(few), kind, len(kind)), tuple(each.uuid for each in few))
        for kind in kinds
        for few in combinations(kind, gpus)
    ]
    found = choose(records(*devices), ask(gpus), Policy())
    if sets:
        assert found == min(sets)[1]
    else:  # none, or of both kinds
        assert found is None or gpus <= len(devices)


@given(linked_devices(), st.integers(1, 7), st.randoms())
def test_a_choice_is_distinct_and_depends_on_nothing_else(
    devices: list[Device], gpus: int, random: Any
) -> None:
    found = choose(records(*devices), ask(gpus), Policy())
    assert (found is None) is (gpus > len(devices))
    if found is not None:
        assert len(set(found)) == gpus
    shuffled = list(devices)
    random.shuffle(shuffled)
    assert choose(records(*shuffled), ask(gpus), Policy()) == found


@given(st.lists(st.integers(1, 5), min_size=1, max_size=30), st.integers(1, 4))
def test_everything_can_be_taken_once(counts: list[int], hosts: int) -> None:
    """Whatever was taken before: as long as there are enough, a request gets that many others."""
    lots = lots_of(records(*(each for n in range(hosts) for each in node(f"h{n}"))), Policy())
    left = 8 * hosts
    seen: set[str] = set()
    for count in counts:
        taken = take(lots, count)
        assert (taken is None) is (count > left)
        if taken is not None:
            assert len(taken) == count and seen.isdisjoint(taken)
            seen.update(taken)
            left -= count
    assert sum(lot.room for lot in lots) == left


def test_sixteen_devices_on_one_switch() -> None:
    devices = node("x", 16, numa_node=0)
    assert len(chosen(records(*devices), ask(8))) == 8
    assert [len(cell) for cell in cells(devices)] == [16]


def test_a_long_chain_is_cut_at_its_weakest_links() -> None:
    uuids = [f"d{n:03}" for n in range(60)]
    links = {(n + 1, n): 40 if n % 10 == 9 else 112 for n in range(59)}
    devices = linked(uuids, links)
    found = cells(devices)
    assert [len(cell) for cell in found] == [10] * 6
    assert chosen(records(*devices), ask(2))[1] in dict(devices[0].links)


def test_practice_devices_without_links() -> None:
    lots = lots_of(records(*(device(f"d{n:04}") for n in range(2000))), Policy())
    assert take(lots, 3) == ("d0000", "d0001", "d0002")
    assert take(lots, 1) == ("d0003",)
    assert take(lots, 8) == tuple(f"d{n:04}" for n in range(4, 12))
