"""The loops of the service: the inventory that stays, and reconciling that never guesses."""

from __future__ import annotations

import asyncio
import threading
from datetime import datetime, timedelta

from service_world import EngineSilent, FakeEngine, World, check_invariants, first_free, now

from hub_ext.clean_ups import CleanUp, CleanUps
from hub_ext.errors import EngineUnavailable, InventoryUnavailable
from hub_ext.models import Device, DeviceState, LeaseState, OperationKind, Request
from hub_ext.reconcile import ContainerFact
from hub_ext.service.monitor import Monitor

GPU = Device("GPU-new", "Test card", 2**30)


class Clock:
    def __init__(self) -> None:
        self.time = now()

    def __call__(self) -> datetime:
        return self.time

    def pass_(self, **delta: float) -> None:
        self.time += timedelta(**delta)


def monitor(world: World, scan=None, **kwargs) -> Monitor:
    return Monitor(world.ledger, kwargs.pop("engine", None) or FakeEngine(world), scan, **kwargs)


async def settle(loops: Monitor, clock: Clock) -> None:
    """Two looks, far apart."""
    await loops.reconcile()
    clock.pass_(hours=1)
    await loops.reconcile()


# -- inventory


async def test_what_a_scan_finds_is_recorded(world):
    loops = monitor(world, lambda: [GPU])
    await loops.take_inventory()
    states = {record.device.uuid: record.state for record in world.ledger.devices()}
    assert states["GPU-new"] is DeviceState.HEALTHY
    assert loops.health.inventory_error == ""
    await loops.close()


async def test_a_scan_that_fails_keeps_the_last_inventory(world):
    def driver_away():
        raise InventoryUnavailable("The driver does not answer")

    before = world.ledger.devices()
    loops = monitor(world, driver_away)
    await loops.take_inventory()
    assert world.ledger.devices() == before
    assert "The driver does not answer" in loops.health.inventory_error
    await loops.close()


async def test_a_scan_that_hangs_is_not_joined_by_a_second_one(world):
    release, calls = threading.Event(), []

    def hang():
        calls.append(1)
        release.wait(20)
        return [GPU]

    before = world.ledger.devices()
    loops = monitor(world, hang, scan_timeout=0.05)
    try:
        for _ in range(3):
            await loops.take_inventory()
        assert len(calls) == 1
        assert world.ledger.devices() == before
        assert "has not answered" in loops.health.inventory_error
    finally:
        release.set()
    async with asyncio.timeout(5):
        while loops.health.inventory_error:
            await loops.take_inventory()
    assert "GPU-new" in {record.device.uuid for record in world.ledger.devices()}
    await loops.close()


async def test_an_error_in_one_round_does_not_end_the_loop(world):
    rounds = []
    twice = threading.Event()

    def second_time_lucky():
        rounds.append(1)
        if len(rounds) == 1:
            raise RuntimeError("odd")
        twice.set()
        return [GPU]

    loops = monitor(world, second_time_lucky, scan_interval=0.02, reconcile_interval=0.02)
    loops.start()
    async with asyncio.timeout(5):
        await asyncio.to_thread(twice.wait)
    await loops.close()
    assert len(rounds) >= 2


# -- reconciling


async def test_a_container_removed_from_outside_frees_its_lease(world):
    clock = Clock()
    world.containers.clear()
    await settle(monitor(world, now=clock), clock)
    assert world.ledger.lease_of("ada", "") is None
    assert all(record.is_free for record in world.ledger.devices())


async def test_a_silent_engine_frees_nothing(world):
    clock = Clock()
    world.containers.clear()
    loops = monitor(world, engine=EngineSilent(world), now=clock)
    await settle(loops, clock)
    assert world.ledger.lease_of("ada", "").state is LeaseState.RUNNING
    assert loops.health.engine_error == "The Docker Engine did not answer"


async def test_a_lease_that_changed_between_plan_and_action_is_left(world):
    """The reset held it a moment ago: what the plan rests on is no longer true."""
    clock = Clock()
    lease = world.ledger.lease_of("ada", "")
    world.containers.clear()

    class HeldMeanwhile(FakeEngine):
        async def containers(self):
            world.ledger.hold(lease.id, clock() + timedelta(minutes=10), clock())
            return await super().containers()

    loops = monitor(world, now=clock)
    await loops.reconcile()
    clock.pass_(hours=1)
    loops._engine = HeldMeanwhile(world)
    await loops.reconcile()
    assert world.ledger.lease_of("ada", "").state is LeaseState.HELD


async def test_a_reset_under_way_is_not_disturbed(world):
    clock = Clock()
    world.ledger.begin_operation(
        OperationKind.RESET,
        "ada",
        "",
        requested_by="ada",
        start_after=True,
        user_options={},
        now=clock(),
    )
    world.containers.clear()
    await settle(monitor(world, now=clock), clock)
    assert world.ledger.lease_of("ada", "") is not None


async def test_what_a_hub_left_to_clean_up_is_removed_though_no_hub_comes_to_it(world):
    """No spawner is used after the restart; without this its lease would last for ever."""
    clock = Clock()
    world.run_server("bob")
    lease = world.ledger.lease_of("bob", "")
    CleanUps(world.ledger).add(CleanUp("bob", "", "gpucamp-bob", lease.id, "stopped"))
    loops = monitor(world, now=clock)
    await settle(loops, clock)
    assert [c.user for c in world.containers] == ["ada"]
    assert world.ledger.lease_of("bob", "").id == lease.id  # until the Engine says that it is gone
    await settle(loops, clock)
    assert world.ledger.lease_of("bob", "") is None
    check_invariants(world)


async def test_a_container_whose_lease_has_ended_is_removed(world):
    clock = Clock()
    world.containers.append(ContainerFact("orphan", "no-such-lease", "bob", "", True))
    await settle(monitor(world, now=clock), clock)
    assert [c.id for c in world.containers] == ["c1"]
    check_invariants(world)


async def test_a_container_of_a_lease_that_came_later_is_not_removed(world):
    """Leases are read before containers: a new pair must not look like an orphan."""
    clock = Clock()
    loops = monitor(world, now=clock)
    world.containers.append(ContainerFact("c9", "later", "bob", "", True))
    await loops.reconcile()
    clock.pass_(hours=1)
    # in truth its lease exists by now
    lease = world.ledger.acquire(Request("bob", "", 1), first_free(1), clock())
    world.containers[-1] = ContainerFact("c9", lease.id, "bob", "", True)
    await loops.reconcile()
    assert [c.id for c in world.containers] == ["c1", "c9"]


async def test_a_lease_whose_hub_died_before_create_is_freed(world):
    clock = Clock()
    world.ledger.acquire(Request("bob", "", 1), first_free(1), clock())
    loops = monitor(world, now=clock)
    await loops.reconcile()
    clock.pass_(seconds=100)
    await loops.reconcile()
    assert world.ledger.lease_of("bob", "") is not None, "its spawner may still be at work"
    clock.pass_(seconds=100)
    await loops.reconcile()
    assert world.ledger.lease_of("bob", "") is None


async def test_an_engine_that_does_not_remove_is_tried_again(world):
    clock = Clock()

    class RemovalFails(FakeEngine):
        refusals = 1

        async def remove(self, container_id):
            if self.refusals:
                self.refusals -= 1
                raise EngineUnavailable("not now")
            await super().remove(container_id)

    world.containers.append(ContainerFact("orphan", "gone", "bob", "", True))
    loops = monitor(world, engine=RemovalFails(world), now=clock)
    await loops.reconcile()
    clock.pass_(hours=1)
    try:
        await loops.reconcile()
    except EngineUnavailable:
        pass
    await loops.reconcile()
    assert [c.id for c in world.containers] == ["c1"]
