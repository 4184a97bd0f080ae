"""What practice devices show: how busy the servers are that hold them, and nothing made up."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import pytest
from service_world import UUIDS, FakeEngine, World, now

from hub_ext.errors import LedgerUnavailable
from hub_ext.inventory.practice_load import Load, PracticeLoad
from hub_ext.ledger import Ledger
from hub_ext.models import Device, DeviceDetail
from hub_ext.reconcile import ContainerFact
from hub_ext.service.monitor import Monitor
from hub_ext.service.practice_use import PracticeUse

GIB = 2**30


class Told(PracticeLoad):
    """Says the same at each look."""

    def __init__(self, **loads: Load) -> None:
        super().__init__()
        self.loads, self.asked = loads, 0

    def look(self, containers: Collection[str]) -> dict[str, Load]:
        self.asked += 1
        return {each: load for each, load in self.loads.items() if each in containers}


def devices(world: World, **changes: object) -> tuple[Device, ...]:
    return tuple(replace(each.device, **changes) for each in world.ledger.devices())


def container(world: World, user: str, name: str, running: bool = True) -> ContainerFact:
    return ContainerFact(name, world.ledger.lease_of(user, "").id, user, "", running)


def use(found: tuple[Device, ...]) -> list[tuple[int | None, int | None]]:
    return [
        (each.utilization_percent, each.detail.memory_used_bytes if each.detail else None)
        for each in found
    ]


@pytest.fixture
def apart(world: World) -> World:
    """ada has a device, bob the other."""
    world.stop_server("ada", "")
    for user in ("ada", "bob"):
        world.run_server(user)
    return world


def test_a_device_does_what_its_server_does(apart):
    told = Told(one=Load(0.42, 3 * GIB), two=Load(0.01, 0))
    found = PracticeUse(apart.ledger, told).shown(
        devices(apart), [container(apart, "ada", "one"), container(apart, "bob", "two")]
    )
    of_ada = apart.ledger.lease_of("ada", "").device_uuids[0]
    by_uuid = dict(zip([each.uuid for each in found], use(found), strict=True))
    assert by_uuid.pop(of_ada) == (42, 3 * GIB)
    assert list(by_uuid.values()) == [(0, 0)], "a JupyterLab that nobody uses"


def test_of_a_server_that_cannot_be_seen_nothing_is_told(apart):
    facts = [container(apart, "ada", "one"), container(apart, "bob", "two", running=False)]
    found = PracticeUse(apart.ledger, Told(two=Load(1.0, GIB))).shown(devices(apart), facts)
    assert use(found) == [(None, None), (None, None)]


def test_work_is_shared_by_the_devices_of_a_server_and_has_bounds(world):
    world.stop_server("ada", "")
    world.run_server("ada", gpus=2)
    told = Told(one=Load(1.0, 4 * GIB))
    shown = PracticeUse(world.ledger, told)
    facts = [container(world, "ada", "one")]
    assert use(shown.shown(devices(world), facts)) == [(50, 2 * GIB)] * 2
    told.loads["one"] = Load(16.0, 10_000 * GIB)
    most = [(100, each.memory_bytes) for each in devices(world)]
    assert use(shown.shown(devices(world), facts)) == most


def test_a_device_that_nobody_has_does_nothing(world):
    world.stop_server("ada", "")
    assert use(PracticeUse(world.ledger, Told()).shown(devices(world), [])) == [(0, 0)] * 2


def test_what_is_told_stays_and_a_real_device_is_left_alone(apart):
    facts = [container(apart, "ada", "one"), container(apart, "bob", "two")]
    told = Told(one=Load(1.0, GIB), two=Load(1.0, GIB))
    shown = PracticeUse(apart.ledger, told)
    real = devices(apart, simulated=False)
    assert shown.shown(real, facts) == real
    stated = devices(apart, utilization_percent=7)
    assert shown.shown(stated, facts) == stated
    assert told.asked == 0, "nobody looks for nothing"
    held = devices(apart, detail=DeviceDetail(memory_used_bytes=5))
    assert use(shown.shown(held, facts)) == [(100, 5)] * 2


async def test_the_monitor_shows_it_and_decides_nothing_by_it(apart):
    told = Told(one=Load(1.0, GIB))
    monitor = Monitor(
        apart.ledger,
        FakeEngine(apart),
        lambda: devices(apart),
        shown=PracticeUse(apart.ledger, told).shown,
    )
    monitor.health.containers = (container(apart, "ada", "one"),)
    await monitor.take_inventory()
    of_ada = apart.ledger.lease_of("ada", "").device_uuids[0]
    latest = monitor.samples.latest(of_ada, now())
    assert latest is not None and latest.utilization_percent == 100
    assert {each.utilization_percent for each in monitor.seen().values()} == {None}
    await monitor.close()


async def test_a_ledger_that_is_away_costs_a_round_and_no_more(apart, monkeypatch):
    monitor = Monitor(
        apart.ledger,
        FakeEngine(apart),
        lambda: devices(apart),
        shown=PracticeUse(apart.ledger, Told()).shown,
    )

    def away(ledger: Ledger) -> None:
        raise LedgerUnavailable("away")

    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "leases", away)
        with pytest.raises(LedgerUnavailable):
            await monitor.take_inventory()
    await monitor.take_inventory()
    assert set(monitor.seen()) == set(UUIDS)
    await monitor.close()
