"""Reset and undo under failures: they end right, the lease stays, work is never touched."""

from __future__ import annotations

import asyncio
import inspect
import shutil
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from resets import reset
from school import QUICK
from service_world import (
    EngineSilent,
    FakeEngine,
    FakeHub,
    HubDownForAWhile,
    HubFailsToStart,
    HubLosesReplies,
    HubLosesTrackOfContainers,
    HubNeverStops,
    World,
    check_invariants,
    make_ledger,
    now,
)

from hub_ext.errors import Conflict, EngineRefused, HubUnavailable, LedgerUnavailable, NotFound
from hub_ext.ledger import Ledger
from hub_ext.models import LeaseState, Operation, OperationKind, OperationStep, Request
from hub_ext.service.reset import Failure, Limits, ResetWorkflow
from hub_ext.service.wording import split_error

RESET, UNDO = OperationKind.RESET, OperationKind.UNDO


async def run(
    world: World,
    kind: OperationKind = RESET,
    *,
    hub: Any = None,
    engine: Any = None,
    limits: Limits = QUICK,
    server: str = "",
) -> Operation:
    workflow = ResetWorkflow(
        world.ledger, hub or FakeHub(world), engine or FakeEngine(world), limits=limits
    )
    operation = await workflow.begin(kind, "ada", server, requested_by="ada")
    await workflow.settled()
    check_invariants(world)
    return world.ledger.operation(operation.id)


def device_of(world: World, server: str = "") -> tuple[str, ...]:
    lease = world.ledger.lease_of("ada", server)
    assert lease is not None
    return lease.device_uuids


async def test_a_reset_gives_a_new_generation_on_the_same_gpu_with_the_same_options(world):
    before = device_of(world)
    operation = await run(world)
    assert operation.step is OperationStep.DONE, operation.error
    assert world.ledger.environment("ada", "").generation == 2
    assert [c.generation for c in world.containers] == [2]
    assert device_of(world) == before
    assert world.ledger.lease_of("ada", "").state is LeaseState.RUNNING
    assert world.started_with == [{"gpus": 1}]


async def test_an_undo_goes_back(world):
    await run(world)
    operation = await run(world, UNDO)
    assert operation.step is OperationStep.DONE
    assert world.ledger.environment("ada", "").generation == 1
    assert [c.generation for c in world.containers] == [1]


async def test_an_undo_without_a_reset_is_refused_and_changes_nothing(world):
    with pytest.raises(Conflict):
        await run(world, UNDO)
    assert [c.id for c in world.containers] == ["c1"]
    assert not world.ledger.unfinished_operations()


async def test_a_stopped_server_stays_stopped(world):
    world.stop_server("ada", "")
    operation = await run(world)
    assert operation.step is OperationStep.DONE
    assert world.ledger.environment("ada", "").generation == 2
    assert world.containers == []
    assert world.started_with == []


async def test_a_named_server_has_an_environment_of_its_own(world):
    world.run_server("ada", "second")
    world.stop_server("ada", "second")
    operation = await run(world, server="second")
    assert operation.step is OperationStep.DONE
    assert world.ledger.environment("ada", "second").generation == 2
    assert world.ledger.environment("ada", "").generation == 1


async def test_a_default_server_that_was_never_started_can_be_reset(world):
    workflow = ResetWorkflow(world.ledger, FakeHub(world), FakeEngine(world), limits=QUICK)
    operation = await workflow.begin(RESET, "bob", "", requested_by="bob")
    await workflow.settled()
    assert world.ledger.operation(operation.id).step is OperationStep.DONE
    assert world.ledger.environment("bob", "").generation == 2


async def test_a_named_server_that_was_never_made_is_not_found(world):
    """Else anyone could fill the ledger with environments of servers that do not exist."""
    with pytest.raises(NotFound):
        await run(world, server="never")
    assert world.ledger.operation_of("ada", "never") is None


async def test_an_unknown_user_is_not_found(world):
    workflow = ResetWorkflow(world.ledger, FakeHub(world), FakeEngine(world), limits=QUICK)
    with pytest.raises(NotFound):
        await workflow.begin(RESET, "nobody", "", requested_by="admin")
    assert not world.ledger.unfinished_operations()


async def test_only_one_at_a_time_per_server(world):
    world.run_server("bob")
    workflow = ResetWorkflow(world.ledger, FakeHub(world), FakeEngine(world), limits=QUICK)
    await workflow.begin(RESET, "ada", "", requested_by="ada")
    with pytest.raises(Conflict):
        await workflow.begin(RESET, "ada", "", requested_by="instructor")
    other = await workflow.begin(RESET, "bob", "", requested_by="bob")
    await workflow.settled()
    assert world.ledger.operation(other.id).step is OperationStep.DONE
    assert world.ledger.environment("ada", "").generation == 2


async def test_a_hub_that_is_down_at_the_request_changes_nothing(world):
    hub = HubDownForAWhile(world)
    hub.silent = 1
    with pytest.raises(HubUnavailable):
        await run(world, hub=hub)
    assert world.ledger.environment("ada", "").generation == 1
    assert world.ledger.lease_of("ada", "").state is LeaseState.RUNNING


@pytest.mark.parametrize("answers", range(6))
async def test_a_hub_that_goes_down_for_a_while_is_waited_for(world, answers):
    class GoesDown(HubDownForAWhile):
        left = answers + 2  # `begin` needs the first

        def _answer(self) -> None:
            self.left -= 1
            if self.left == 0:
                self.silent = 20
            super()._answer()

    before = device_of(world)
    hub = GoesDown(world)
    operation = await run(world, hub=hub)
    assert hub.left <= 0, "it never went down"
    assert operation.step is OperationStep.DONE, operation.error
    assert world.ledger.environment("ada", "").generation == 2
    assert device_of(world) == before


async def test_lost_replies_do_not_repeat_their_effect(world):
    operation = await run(world, hub=HubLosesReplies(world))
    assert operation.step is OperationStep.DONE
    assert len(world.started_with) == 1
    assert world.ledger.environment("ada", "").generation == 2


async def test_a_hub_that_stays_away_fails_the_reset_before_anything_changed(world):
    class GoesAway(HubDownForAWhile):
        async def stop(self, user: str, server: str) -> None:
            self.silent = 10**9
            self._answer()

    operation = await run(world, hub=GoesAway(world), limits=replace(QUICK, stop=0.1))
    assert operation.step is OperationStep.FAILED
    assert split_error(operation.error)[0] is Failure.STOP_HUB_SILENT
    assert world.ledger.environment("ada", "").generation == 1
    assert world.ledger.lease_of("ada", "").state is LeaseState.RUNNING


async def test_a_server_that_does_not_stop_gets_its_lease_back(world):
    operation = await run(world, hub=HubNeverStops(world), limits=replace(QUICK, stop=0.2))
    assert split_error(operation.error)[0] is Failure.STOP_TIMEOUT
    lease = world.ledger.lease_of("ada", "")
    assert (lease.state, lease.hold_until) == (LeaseState.RUNNING, None)
    assert world.ledger.environment("ada", "").generation == 1
    assert len(world.containers) == 1


async def test_unknown_is_not_gone_while_the_engine_is_silent(world):
    """A silent Engine must never lead to a switch under a running container."""
    operation = await run(
        world,
        hub=HubLosesTrackOfContainers(world),
        engine=EngineSilent(world),
        limits=replace(QUICK, stop=0.1),
    )
    assert split_error(operation.error)[0] is Failure.STOP_ENGINE_SILENT
    assert world.ledger.environment("ada", "").generation == 1
    assert device_of(world), "the lease was freed on a guess"


async def test_an_engine_that_answers_again_is_enough(world):
    engine = EngineSilent(world)
    engine.silent = 5
    operation = await run(world, engine=engine)
    assert operation.step is OperationStep.DONE


async def test_a_container_that_the_hub_lost_is_removed_before_the_switch(world):
    operation = await run(world, hub=HubLosesTrackOfContainers(world))
    assert operation.step is OperationStep.DONE
    assert [c.generation for c in world.containers] == [2]


async def test_a_start_that_fails_once_is_tried_again(world):
    hub = HubFailsToStart(world)
    hub.failures = 1
    operation = await run(world, hub=hub)
    assert operation.step is OperationStep.DONE


async def test_a_start_that_fails_says_why_and_gives_the_hold_up(world):
    operation = await run(world, hub=HubFailsToStart(world))
    assert operation.step is OperationStep.FAILED
    assert split_error(operation.error) == (Failure.START_FAILED, "The image is gone")
    assert world.ledger.environment("ada", "").generation == 2
    assert world.ledger.lease_of("ada", "") is None
    assert all(record.is_free for record in world.ledger.devices())


async def test_a_slow_start_keeps_the_hold_for_the_start_that_is_coming(world):
    class Slow(FakeHub):
        async def start(self, user, server, user_options):
            found = self.world.servers[user, server]
            self.world.servers[user, server] = replace(found, stopped=False, pending="spawn")

    before = device_of(world)
    operation = await run(world, hub=Slow(world), limits=replace(QUICK, start=0.1))
    assert split_error(operation.error)[0] is Failure.START_TIMEOUT
    lease = world.ledger.lease_of("ada", "")
    assert (lease.state, lease.device_uuids) == (LeaseState.HELD, before)
    assert lease.gone_at is not None and lease.hold_until is not None


async def test_who_waits_in_line_is_reset_and_waits_again(world):
    class Waits(FakeHub):
        async def start(self, user, server, user_options):
            known = self.world.servers[user, server]
            self.world.servers[user, server] = replace(known, stopped=False, pending="spawn")
            self.world.ledger.enqueue(Request(user, server, 1), now(), waiter="run")

        async def stop(self, user, server):
            self.world.ledger.withdraw(user, server)
            await super().stop(user, server)

    hub = Waits(world)
    world.ledger.begin_run("run", now())
    world.stop_server("ada", "")
    await hub.start("ada", "", {"gpus": 1})
    operation = await run(world, hub=hub)
    assert operation.step is OperationStep.DONE, operation.error
    assert world.ledger.environment("ada", "").generation == 2
    assert [each.request.user for each in world.ledger.queue()] == ["ada"]


async def test_a_start_by_the_user_between_stop_and_switch_is_taken_over(world):
    """A server started in the old environment meanwhile must not end as "done"."""

    class UserIsQuick(FakeEngine):
        started = False

        async def containers(self):
            found = await super().containers()
            if not found and not self.started:
                self.started = True
                self.world.run_server("ada")  # after the Engine has said: gone
            return found

    operation = await run(world, engine=UserIsQuick(world))
    assert operation.step is OperationStep.DONE, operation.error
    assert [c.generation for c in world.containers] == [2]


async def test_a_stopped_server_that_is_started_meanwhile_is_left_alone(world):
    world.stop_server("ada", "")

    class UserStarts(FakeHub):
        calls = 0

        async def server(self, user, server):
            self.calls += 1
            if self.calls == 2:
                self.world.run_server("ada")
            return await super().server(user, server)

    operation = await run(world, hub=UserStarts(world))
    assert split_error(operation.error)[0] is Failure.STARTED_MEANWHILE
    assert world.ledger.environment("ada", "").generation == 1
    assert [c.id for c in world.containers] == ["c2"]


async def test_a_ledger_that_is_away_for_a_while_is_waited_for(world):
    class LedgerAway:
        """Refuses every second call."""

        def __init__(self, ledger: Any) -> None:
            self._ledger, self._calls = ledger, 0

        def __getattr__(self, name: str) -> Any:
            method = getattr(self._ledger, name)

            def call(*args: Any, **kwargs: Any) -> Any:
                self._calls += 1
                if self._calls % 2 == 0 and name != "begin_operation":
                    raise LedgerUnavailable("the disk is full")
                return method(*args, **kwargs)

            return call

    workflow = ResetWorkflow(
        LedgerAway(world.ledger), FakeHub(world), FakeEngine(world), limits=QUICK
    )
    operation = await workflow.begin(RESET, "ada", "", requested_by="ada")
    await workflow.settled()
    assert world.ledger.operation(operation.id).step is OperationStep.DONE
    assert world.ledger.environment("ada", "").generation == 2


async def test_the_last_two_generations_keep_their_volumes_and_older_ones_go(world):
    for _ in range(4):
        assert (await run(world)).step is OperationStep.DONE
    assert world.ledger.environment("ada", "").generation == 5
    assert world.removed_environments == [("ada", "", 1), ("ada", "", 2)]


async def test_a_volume_that_cannot_be_deleted_is_tried_again_after_the_next_reset(world):
    class VolumeInUse(FakeEngine):
        refusals = 1

        async def remove_environment(self, user, server, generation):
            if self.refusals:
                self.refusals -= 1
                raise EngineRefused("volume is in use", 409)
            await super().remove_environment(user, server, generation)

    engine = VolumeInUse(world)
    for _ in range(3):
        assert (await run(world, engine=engine)).step is OperationStep.DONE
    assert world.removed_environments == []
    await run(world, engine=engine)
    assert world.removed_environments == [("ada", "", 1), ("ada", "", 2)]


# -- a service that is killed between any two calls, before or after the call took effect


class ServiceKilled(BaseException):
    """SIGKILL: nothing after it runs, not even `except Exception`."""


class Killer:
    """Kills at the n-th call to the ledger, the hub or the Engine."""

    def __init__(self, at: int, after: bool) -> None:
        self.at, self.after, self.calls, self.struck = at, after, 0, False

    def wrap(self, target: Any, check: Callable[[], None]) -> Any:
        killer = self

        class Wrapped:
            def __getattr__(self, name: str) -> Any:
                method = getattr(target, name)
                if inspect.iscoroutinefunction(method):

                    async def call(*args: Any, **kwargs: Any) -> Any:
                        killer.before()
                        result = await method(*args, **kwargs)
                        killer.behind()
                        check()
                        return result

                    return call

                def call_now(*args: Any, **kwargs: Any) -> Any:
                    killer.before()
                    result = method(*args, **kwargs)
                    killer.behind()
                    return result

                return call_now

        return Wrapped()

    def before(self) -> None:
        self.calls += 1
        if self.calls == self.at and not self.after:
            self.struck = True
            raise ServiceKilled

    def behind(self) -> None:
        if self.calls == self.at and self.after:
            self.struck = True
            raise ServiceKilled


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("kind", [RESET, UNDO])
async def test_a_service_killed_at_any_call_finishes_when_it_returns(tmp_path, kind, after):
    prepared = World(make_ledger(tmp_path))
    if kind is UNDO:
        reset(prepared.ledger, "ada", "", now())
    prepared.run_server("ada")
    prepared.run_server("bob")  # all devices are taken: a freed one would be lost to a waiter
    prepared.ledger.close()
    expected = 1 if kind is UNDO else 2
    template = tmp_path / "ledger.sqlite"
    at = 0
    while True:
        at += 1
        file = tmp_path / f"{at}.sqlite"
        shutil.copy(template, file)
        ledger = Ledger(f"sqlite:///{file}")
        world = World(ledger, dict(prepared.servers), list(prepared.containers), made=prepared.made)
        before = device_of(world)
        starts = len(world.started_with)
        ledger.begin_operation(
            kind,
            "ada",
            "",
            requested_by="ada",
            start_after=True,
            user_options={"gpus": 1},
            now=now(),
        )

        def never_lost(world: World = world, before: tuple[str, ...] = before) -> None:
            check_invariants(world)
            assert device_of(world) == before, "the lease was lost on the way"

        killer = Killer(at, after)
        first = ResetWorkflow(
            killer.wrap(ledger, never_lost),
            killer.wrap(FakeHub(world), never_lost),
            killer.wrap(FakeEngine(world), never_lost),
            limits=QUICK,
        )
        try:
            await first.resume()
            await first.settled()
        except ServiceKilled:
            pass
        struck = killer.struck
        second = ResetWorkflow(ledger, FakeHub(world), FakeEngine(world), limits=QUICK)
        await second.resume()
        await second.settled()
        never_lost()
        operation = ledger.operation_of("ada", "")
        assert operation is not None
        assert operation.step is OperationStep.DONE, (at, operation.error)
        assert ledger.environment("ada", "").generation == expected, at
        assert [c.generation for c in world.containers if c.user == "ada"] == [expected]
        assert len(world.started_with) == starts + 1, f"killed at {at}: started twice"
        ledger.close()
        if not struck:
            break
    assert at > 12, "the killer hardly ever struck: the test proves nothing"


async def test_a_service_that_is_stopped_leaves_the_operation_for_the_next(world):
    workflow = ResetWorkflow(world.ledger, HubNeverStops(world), FakeEngine(world), limits=QUICK)
    operation = await workflow.begin(RESET, "ada", "", requested_by="ada")
    for _ in range(2000):
        if world.ledger.operation(operation.id).step is OperationStep.STOPPING:
            break
        await asyncio.sleep(0.01)
    await asyncio.wait_for(workflow.close(), 20)
    assert world.ledger.operation(operation.id).step is OperationStep.STOPPING
    second = ResetWorkflow(world.ledger, FakeHub(world), FakeEngine(world), limits=QUICK)
    await second.resume()
    await second.settled()
    assert world.ledger.operation(operation.id).step is OperationStep.DONE
