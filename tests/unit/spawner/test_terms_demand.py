"""Whom a device helps: against a plain maximum matching, and the cases that matter to people."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from hub_ext.demand import Demand
from hub_ext.models import (
    Cordon,
    Device,
    DeviceRecord,
    DeviceState,
    Lease,
    LeaseState,
    QueueEntry,
    Request,
)
from hub_ext.placement import suits
from hub_ext.policy import GroupLimits, Policy, Pool

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
GIB = 2**30
POLICY = Policy(
    pools=(Pool("shared", ("s1", "s2"), slots=2), Pool("red", ("r1",), groups=("red",)))
)
KINDS = {
    "a1": Device("a1", "A100", 80 * GIB),
    "a2": Device("a2", "A100", 80 * GIB),
    "t1": Device("t1", "T4", 16 * GIB),
    "r1": Device("r1", "T4", 16 * GIB, pool="red"),
    "m1": Device("m1", "A100 MIG 1g", 10 * GIB, parent="a3"),
    "s1": Device("s1", "T4", 16 * GIB, slots=2, shared=True, pool="shared"),
    "s2": Device("s2", "A100", 80 * GIB, slots=2, shared=True, pool="shared"),
}


def lease(number: int, *uuids: str, groups=()) -> Lease:
    return Lease(f"l{number}", f"holder{number}", "", LeaseState.RUNNING, uuids, NOW, groups=groups)


def records(leases, *uuids: str, **changes) -> list[DeviceRecord]:
    holders = {uuid: tuple(le.id for le in leases if uuid in le.device_uuids) for uuid in uuids}
    return [
        DeviceRecord(KINDS[uuid], DeviceState.HEALTHY, NOW, lease_ids=holders[uuid], **changes)
        for uuid in uuids
    ]


def queue(*requests: Request) -> list[QueueEntry]:
    return [
        QueueEntry(replace(request, user=f"waits{number}"), number, NOW)
        for number, request in enumerate(requests)
    ]


def ask(gpus: int = 1, **what) -> Request:
    return Request("", "", gpus, **what)


def test_a_free_device_is_enough_for_who_just_came():
    held = [lease(1, "a1")]
    assert not Demand(queue(ask()), records(held, "a1", "a2"), held, POLICY).wants(held[0])
    assert Demand(queue(ask()), records(held, "a1"), held, POLICY).wants(held[0])


def test_one_who_waits_needs_one_lease_to_end_not_all():
    held = [lease(1, "a1"), lease(2, "a2")]
    demand = Demand(queue(ask()), records(held, "a1", "a2"), held, POLICY)
    assert demand.wants(held[1])
    assert demand.take(held[0])
    assert not demand.wants(held[1])
    assert not demand.take(held[1])


def test_who_is_picky_is_not_robbed_by_who_is_not():
    """The free A100 must serve who needs it, though who takes anything came first."""
    held = [lease(1, "t1")]
    waits = queue(ask(), ask(model="a100"))
    demand = Demand(waits, records(held, "a1", "t1"), held, POLICY)
    assert demand.take(held[0])
    assert not demand.wants(lease(9, "a1"))


def test_a_device_that_suits_nobody_helps_nobody():
    held = [lease(number, uuid) for number, uuid in enumerate(("t1", "m1", "r1", "s1", "s1"))]
    devices = records(held, "t1", "m1", "r1", "s1")
    wanted = [
        (ask(model="A100"), {"m1"}),  # a MIG instance of one, for one
        (ask(2), set()),  # two do not exist outside the pool of red
        (ask(2, groups=("red",)), {"t1", "r1"}),
        (ask(share=True), {"s1"}),
        (ask(min_memory_bytes=20 * GIB), set()),
        (ask(0), set()),
    ]
    for request, uuids in wanted:
        demand = Demand(queue(request), devices, held, POLICY)
        assert {each.device_uuids[0] for each in held if demand.wants(each)} == uuids, request


def test_a_device_out_of_use_helps_nobody():
    held = [lease(1, "a1")]
    out = records(held, "a1", cordon=Cordon.DRAINING)
    assert not Demand(queue(ask()), out, held, POLICY).wants(held[0])


def test_nobody_makes_room_for_a_group_that_has_all_it_may_have():
    held = [lease(1, "a1", groups=("red",)), lease(2, "a2")]
    limits = Policy(group_limits={"red": GroupLimits(max_devices=1)})
    devices = records(held, "a1", "a2")
    of_red, of_blue = (queue(ask(groups=(name,))) for name in ("red", "blue"))
    assert not Demand(of_red, devices, held, limits).wants(held[1])
    assert Demand(of_blue, devices, held, limits).wants(held[1])


def test_a_server_with_a_lease_waits_for_nothing():
    """One that is reset gets its own devices back."""
    held = [lease(1, "a1"), lease(2, "a2")]
    waits = [QueueEntry(Request("holder1", "", 1), 1, NOW)]
    assert not Demand(waits, records(held, "a1", "a2"), held, POLICY).wants(held[1])


requests = st.builds(
    Request,
    user=st.just(""),
    server=st.just(""),
    gpus=st.integers(0, 3),
    model=st.sampled_from(["", "a100", "t4"]),
    min_memory_bytes=st.sampled_from([0, 40 * GIB]),
    share=st.booleans(),
    groups=st.sampled_from([(), ("red",)]),
)


def missing_after(waits: list[QueueEntry], devices: list[str]) -> int:
    """How many devices are still missing: a matching of each unit, one by one (Kuhn)."""
    units = [
        entry.request
        for entry in waits
        if entry.request.gpus <= sum(suits(d, entry.request, POLICY) for d in KINDS.values())
        for _ in range(entry.request.gpus)
    ]
    given: dict[int, int] = {}

    def serve(unit: int, tried: set[int]) -> bool:
        for at, uuid in enumerate(devices):
            if at not in tried and suits(KINDS[uuid], units[unit], POLICY):
                tried.add(at)
                if at not in given or serve(given[at], tried):
                    given[at] = unit
                    return True
        return False

    return len(units) - sum(serve(unit, set()) for unit in range(len(units)))


@given(st.lists(requests, max_size=5), st.data())
def test_against_a_plain_matching(wanted, data):
    waits = queue(*wanted)
    slots = [uuid for uuid, device in KINDS.items() for _ in range(device.slots)]
    order = data.draw(st.permutations(slots))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(order)), min_size=4, max_size=4)))
    held = [
        lease(number, *dict.fromkeys(order[a:b]))
        for number, (a, b) in enumerate(zip(cuts, cuts[1:], strict=False))
    ]
    devices = records(held, *KINDS)
    free = [
        each.device.uuid for each in devices for _ in range(each.device.slots - len(each.lease_ids))
    ]
    demand = Demand(waits, devices, held, POLICY)
    left = missing_after(waits, free)
    for each in held:
        free += each.device_uuids
        now_left = missing_after(waits, free)
        assert demand.wants(each) == (now_left < left)
        assert demand.take(each) == (now_left < left)
        assert not demand.wants(each) or now_left > 0
        left = now_left
