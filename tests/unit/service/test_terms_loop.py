"""Leases end as the policy says, and whatever fails or is killed in between, they end once."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from service_world import (
    UUIDS,
    EngineSilent,
    FakeEngine,
    FakeHub,
    HubDownForAWhile,
    HubHangs,
    HubLosesReplies,
    HubLosesTrackOfContainers,
    HubRefusesToStop,
    World,
    check_invariants,
    make_ledger,
    now,
)

from hub_ext.models import (
    Device,
    LeaseState,
    NoticeKind,
    OperationKind,
    OperationStep,
    Request,
)
from hub_ext.policy import Policy, Rule
from hub_ext.service.monitor import Monitor
from hub_ext.service.terms_loop import TermsLoop

HOUR = timedelta(hours=1)
STRICT = Policy(auto_extend=False, warnings=())
IDLE = {uuid: Device(uuid, "", 0, compute_processes=0, utilization_percent=0) for uuid in UUIDS}


class Clock:
    def __init__(self) -> None:
        self.time = now()

    def __call__(self) -> datetime:
        return self.time

    def pass_(self, **delta: float) -> None:
        self.time += timedelta(**delta)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def world(tmp_path: Path, clock: Clock) -> Iterator[World]:
    """ada's server has one hour; the policy ends it there."""
    ledger = make_ledger(tmp_path)
    ledger.set_policy(STRICT)
    world = World(ledger)
    world.run_server("ada", term=HOUR, at=clock())
    yield world
    ledger.close()


def loop_of(
    world: World, clock: Clock, hub: Any = None, engine: Any = None, seen=dict
) -> TermsLoop:
    return TermsLoop(
        world.ledger, hub or FakeHub(world), engine or FakeEngine(world), seen, now=clock
    )


async def look(loop: TermsLoop) -> None:
    await loop.round()
    await loop.settled()


def told(world: World, user: str = "ada") -> list[NoticeKind]:
    return [notice.kind for notice in world.ledger.notices(user, "")]


def is_over(world: World) -> bool:
    check_invariants(world)
    return world.servers["ada", ""].stopped and world.ledger.lease_of("ada", "") is None


async def test_a_server_is_stopped_at_the_end_of_its_lease_and_not_before(world, clock):
    loop = loop_of(world, clock)
    clock.pass_(minutes=59)
    await look(loop)
    assert world.servers["ada", ""].ready and told(world) == []
    clock.pass_(minutes=1)
    await look(loop)
    assert is_over(world)
    assert told(world) == [NoticeKind.LEASE_EXPIRED]
    await look(loop)
    assert told(world) == [NoticeKind.LEASE_EXPIRED]


async def test_a_lease_goes_on_while_nobody_waits(world, clock):
    world.ledger.set_policy(Policy())
    clock.pass_(minutes=61)
    await look(loop_of(world, clock))
    assert world.servers["ada", ""].ready
    lease = world.ledger.lease_of("ada", "")
    assert clock() < lease.expires_at <= clock() + timedelta(minutes=15)
    assert (lease.extensions, told(world)) == (0, [])


async def test_a_reply_that_is_lost_stops_and_tells_once(world, clock):
    loop = loop_of(world, clock, HubLosesReplies(world))
    clock.pass_(hours=2)
    for _ in range(3):
        await look(loop)
    assert is_over(world)
    assert told(world) == [NoticeKind.LEASE_EXPIRED]


async def test_a_hub_that_is_down_is_asked_again_and_nobody_is_told_too_early(world, clock):
    hub = HubDownForAWhile(world)
    hub.silent = 2
    loop = loop_of(world, clock, hub)
    clock.pass_(hours=2)
    await look(loop)
    await look(loop)
    assert world.servers["ada", ""].ready and told(world) == []
    await look(loop)
    assert is_over(world)


async def test_a_hub_that_says_no_is_asked_again_and_the_user_is_told_once(world, clock):
    hub = HubRefusesToStop(world)
    hub.refusals = 2
    loop = loop_of(world, clock, hub)
    clock.pass_(hours=2)
    for _ in range(2):
        await look(loop)
        assert world.servers["ada", ""].ready
    await look(loop)
    assert is_over(world)
    assert told(world) == [NoticeKind.LEASE_EXPIRED]


@pytest.mark.parametrize("step", ["server", "tell", "stop"])
async def test_a_service_that_is_killed_at_any_step_leaves_it_to_the_next_one(world, clock, step):
    class Killed(BaseException):
        pass

    class KillsAt(FakeHub):
        async def server(self, user, server):
            if step == "server":
                raise Killed
            return await super().server(user, server)

        async def stop(self, user, server):
            if step == "tell":  # after the notice, before the stop
                raise Killed
            await super().stop(user, server)
            raise Killed

    clock.pass_(hours=2)
    loop = loop_of(world, clock, KillsAt(world))
    await loop.round()
    tasks = list(loop._stopping.values())
    await loop.settled()
    assert isinstance(tasks[0].exception(), Killed)
    await look(loop_of(world, clock))
    assert is_over(world)
    assert told(world) == [NoticeKind.LEASE_EXPIRED]


async def test_a_stop_that_hangs_holds_up_no_other(world, clock):
    world.run_server("bob", term=HOUR, at=clock())
    loop = loop_of(world, clock, HubHangs(world))
    clock.pass_(hours=2)
    await loop.round()
    await loop._stopping[world.ledger.lease_of("bob", "").id]
    assert world.servers["bob", ""].stopped
    await loop.round()  # asks for no second stop of ada's
    assert len(loop._stopping) == 1
    await loop.close()
    assert world.servers["ada", ""].ready


async def test_a_server_with_a_reset_under_way_is_left_alone(world, clock):
    operation = world.ledger.begin_operation(
        OperationKind.RESET,
        "ada",
        "",
        requested_by="ada",
        start_after=True,
        user_options={},
        now=clock(),
    )
    clock.pass_(hours=2)
    loop = loop_of(world, clock)
    await look(loop)
    assert world.servers["ada", ""].ready and told(world) == []
    world.ledger.advance_operation(operation.id, OperationStep.FAILED, clock(), "x")
    await look(loop)
    assert is_over(world)


async def test_a_reset_that_begins_between_decision_and_stop_wins(world, clock):
    """What was decided is read again: the lease is held by now."""

    class ResetMeanwhile(TermsLoop):
        def _still_stands(self, lease):
            world.ledger.hold(lease.id, clock() + HOUR, clock())
            return super()._still_stands(lease)

    clock.pass_(hours=2)
    loop = ResetMeanwhile(world.ledger, FakeHub(world), FakeEngine(world), dict, now=clock)
    await look(loop)
    assert world.servers["ada", ""].ready and told(world) == []
    assert world.ledger.lease_of("ada", "").state is LeaseState.HELD


@pytest.mark.parametrize("known", [True, False])
async def test_a_container_that_the_hub_does_not_know_of_is_removed(world, clock, known):
    """The hub says stopped, or knows no such user; the container would run for ever."""
    hub = HubLosesTrackOfContainers(world)
    await hub.stop("ada", "")
    if not known:
        del world.users["ada"]
    loop = loop_of(world, clock, hub)
    clock.pass_(hours=2)
    await look(loop)
    assert [c.user for c in world.containers] == ["ada"], "the hub may be in the middle of it"
    clock.pass_(seconds=20)
    await look(loop)
    assert world.containers == []
    assert told(world) == [NoticeKind.LEASE_EXPIRED]
    # its lease ends on proof, by reconciling
    monitor = Monitor(world.ledger, FakeEngine(world), None, now=clock)
    await monitor.reconcile()
    clock.pass_(minutes=1)
    await monitor.reconcile()
    await monitor.close()
    assert world.ledger.lease_of("ada", "") is None


async def test_an_engine_that_is_silent_then_keeps_the_container_for_the_next_round(world, clock):
    hub = HubLosesTrackOfContainers(world)
    await hub.stop("ada", "")
    engine = EngineSilent(world)
    engine.silent = 1
    loop = loop_of(world, clock, hub, engine)
    clock.pass_(hours=2)
    await look(loop)
    clock.pass_(seconds=20)
    await look(loop)
    assert len(world.containers) == 1
    await look(loop)
    assert world.containers == []


# -- idle devices


def wait_in_line(world: World, clock: Clock, user: str = "bob", gpus: int = 2) -> None:
    world.ledger.enqueue(Request(user, "", gpus), clock())


async def pass_time(loop: TermsLoop, clock: Clock, minutes: int) -> None:
    """Looks without a break."""
    for _ in range(minutes * 2):
        clock.pass_(seconds=30)
        await look(loop)


async def test_idle_devices_are_taken_back_after_a_warning_that_nobody_answers(world, clock):
    policy = Policy(idle_after=timedelta(minutes=3), idle_answer=timedelta(minutes=2), warnings=())
    world.ledger.set_policy(policy)
    wait_in_line(world, clock)
    loop = loop_of(world, clock, seen=lambda: IDLE)
    await look(loop)
    assert world.ledger.lease_of("ada", "").idle_since == clock()
    await pass_time(loop, clock, 3)
    assert world.ledger.lease_of("ada", "").reclaim_at is not None
    assert world.servers["ada", ""].ready
    await pass_time(loop, clock, 2)
    assert is_over(world)
    assert told(world) == [NoticeKind.LEASE_RECLAIMED]


async def test_an_answer_keeps_idle_devices(world, clock):
    policy = Policy(idle_after=timedelta(minutes=3), idle_answer=timedelta(minutes=2), warnings=())
    world.ledger.set_policy(policy)
    wait_in_line(world, clock)
    loop = loop_of(world, clock, seen=lambda: IDLE)
    await pass_time(loop, clock, 4)
    lease = world.ledger.lease_of("ada", "")
    assert lease.reclaim_at is not None
    world.ledger.mark_idle(lease.id, clock(), None, clock())  # "I am using it"
    await pass_time(loop, clock, 2)
    assert world.servers["ada", ""].ready
    assert world.ledger.lease_of("ada", "").reclaim_at is None


async def test_what_is_not_seen_is_not_idle(world, clock):
    world.ledger.set_policy(Policy(idle_after=timedelta(minutes=1), warnings=()))
    wait_in_line(world, clock)
    loop = loop_of(world, clock)
    await pass_time(loop, clock, 15)
    lease = world.ledger.lease_of("ada", "")
    assert (lease.idle_since, lease.reclaim_at) == (None, None)


# -- quotas


async def test_a_server_is_stopped_when_its_device_hours_are_used_up(world, clock):
    world.ledger.set_policy(Policy(default=Rule(device_hours=0.5), warnings=()))
    loop = loop_of(world, clock)
    await pass_time(loop, clock, 29)
    assert world.servers["ada", ""].ready
    await pass_time(loop, clock, 2)
    assert is_over(world)
    assert told(world) == [NoticeKind.QUOTA_USED_UP]
