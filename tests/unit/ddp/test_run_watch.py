"""A run is watched by one process, to its true end, whatever fails around it: full volumes, slow
ones, no room for a thread, two servers at once, a server that ends while a run starts.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from server_ext.ddp import process, run_watch
from server_ext.ddp.launch_plan import Plan
from server_ext.ddp.manager import RunManager
from server_ext.ddp.process import MOST_MEMBERS, Identity, merge
from server_ext.ddp.runs import Run, RunStore
from server_ext.errors import Conflict

pytestmark = pytest.mark.timeout(60)
PlanMaker = Callable[..., Plan]


async def until(condition: Callable[[Run], bool], manager: RunManager, run: Run) -> Run:
    deadline = time.monotonic() + 30
    while not condition(run):
        assert time.monotonic() < deadline, run
        await asyncio.sleep(0.05)
        run = await manager.get(run.id)
    return run


def over(run: Run) -> bool:
    return not run.alive


def full(*_: object) -> None:
    raise OSError(28, "No space left on device")


def start_other() -> subprocess.Popen[bytes]:
    """A process that lives until its input ends."""
    return subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)


# -- volumes


async def test_an_ending_that_a_full_volume_does_not_take_is_told_and_written_later(
    manager: RunManager, plan_for: PlanMaker, store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = await manager.start(plan_for("seconds=1"))
    with monkeypatch.context() as patch:
        patch.setattr(RunStore, "save", full)
        await manager.wait(run.id)
        for _ in range(3):
            assert (await manager.get(run.id)).state == "succeeded"
            assert [one.state for one in await manager.all()] == ["succeeded"]
        assert store.load(run.id).alive
    assert (await manager.get(run.id)).state == "succeeded"
    assert (store.load(run.id).state, store.load(run.id).exit_code) == ("succeeded", 0)


async def test_it_is_written_when_the_server_ends_at_the_latest(
    plan_for: PlanMaker, store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    manager = RunManager(store, os.environ)
    with monkeypatch.context() as patch:
        patch.setattr(RunStore, "create", lambda self, run: self.path(run.id).mkdir(parents=True))
        patch.setattr(RunStore, "save", full)
        run = await manager.start(plan_for(launcher=("/nowhere/torchrun",)))
        assert run.state == "failed"
    await manager.close()
    assert store.load(run.id) == run


async def test_a_full_volume_does_not_keep_a_run_from_being_stopped(
    manager: RunManager, plan_for: PlanMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = await manager.start(plan_for("seconds=60"))
    monkeypatch.setattr(RunStore, "request_stop", full)
    await manager.stop(run.id)
    assert (await manager.wait(run.id)).state == "stopped"


async def test_what_could_not_be_made_leaves_its_id_free(
    store: RunStore, manager: RunManager, plan_for: PlanMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_for()
    with monkeypatch.context() as patch:
        patch.setattr(RunStore, "save", full)
        with pytest.raises(Conflict):
            await manager.start(plan)
    run = await manager.start(plan)  # the same request, sent again
    assert (await manager.wait(run.id)).state == "succeeded"


async def test_a_slow_volume_does_not_put_an_older_record_over_a_newer(
    manager: RunManager, plan_for: PlanMaker, store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = RunStore.save, []

    def slow(self: RunStore, run: Run) -> None:
        calls.append(run.state)
        if len(calls) == 2:  # the first is the folder's, the second that with the agent
            time.sleep(4)
        real(self, run)

    monkeypatch.setattr(RunStore, "save", slow)
    run = await manager.start(plan_for("seconds=0.1"))
    await manager.wait(run.id)
    assert calls[-1] == "succeeded"
    assert store.load(run.id).state == "succeeded"


# -- what fails on the way


async def test_no_room_for_a_thread_costs_neither_the_watch_nor_the_exit_code(
    manager: RunManager, plan_for: PlanMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_watch, "AGAIN_SECONDS", 0.1)
    run = await manager.start(plan_for("seconds=2"))
    real, failures = process.find_processes, iter(range(3))

    def sometimes(run_id: str, known: tuple[Identity, ...] = ()) -> list[Identity]:
        if next(failures, None) is not None:
            raise RuntimeError("can't start new thread")
        return real(run_id, known)

    monkeypatch.setattr(process, "find_processes", sometimes)
    ended = await manager.wait(run.id)
    assert (ended.state, ended.exit_code) == ("succeeded", 0)
    assert next(failures, None) is None


async def test_a_stop_that_failed_can_be_asked_for_again(
    manager: RunManager, plan_for: PlanMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = await manager.start(plan_for("seconds=60"))
    real, calls = process.end_all, []

    async def sometimes(*known: object, **patience: object) -> list[Identity]:
        calls.append(1)
        if len(calls) == 1:
            raise OSError(24, "Too many open files")
        return await real(*known, **patience)  # type: ignore[arg-type]  # passed on as they are

    monkeypatch.setattr(process, "end_all", sometimes)
    await manager.stop(run.id)
    assert (await manager.wait(run.id)).state == "stopped"
    assert len(calls) > 1


async def test_a_diagnosis_that_fails_does_not_keep_a_run_from_being_over(
    manager: RunManager, plan_for: PlanMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RecursionError

    monkeypatch.setattr("server_ext.ddp.diagnosis.diagnose", broken)
    run = await manager.start(plan_for("exit=3"))
    ended = await manager.wait(run.id)
    assert (ended.state, ended.exit_code, ended.diagnosis) == ("failed", 1, None)
    assert manager.store.load(run.id) == ended


# -- who watches


async def test_of_two_that_find_a_run_left_alone_one_watches_it(
    plan_for: PlanMaker, store: RunStore
) -> None:
    """A server and a `gpucamp-ddp` in its terminal, say: two processes of one container."""
    first = RunManager(store, os.environ)
    run = await first.start(plan_for("seconds=60"))
    run = await until(lambda run: run.state == "running", first, run)
    await first.close()
    store.save(replace(run, owner=replace(run.owner, started=1)))
    with start_other() as other:
        terminal = process.identify(other.pid)
        assert terminal is not None
        second, third = RunManager(store, os.environ), RunManager(store, os.environ)
        third._me = replace(third._me, pid=terminal.pid, started=terminal.started)
        for _ in range(3):
            await asyncio.gather(second.all(), third.all())
            [watching] = [one for one in (second, third) if run.id in one._watched]
            assert store.load(run.id).owner == watching._me
        await watching.stop(run.id)
        assert (await watching.wait(run.id)).state == "stopped"
        for one in (second, third):
            assert (await one.get(run.id)).state == "stopped"
            await one.close()


async def test_a_lock_that_is_held_leaves_a_run_as_it_is(
    manager: RunManager, plan_for: PlanMaker, store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server_ext.ddp.runs.LOCK_SECONDS", 0.1)
    run = await manager.wait((await manager.start(plan_for())).id)
    left = replace(run, state="running", owner=replace(run.owner, started=1))
    store.save(left)
    with store._alone() as alone:
        assert alone
        assert await manager.get(run.id) == left
    assert (await until(over, manager, run)).state != "running"


async def test_who_closes_waits_for_starts_and_watches_nothing_any_more(
    plan_for: PlanMaker, store: RunStore
) -> None:
    first = RunManager(store, os.environ)
    plan = plan_for("seconds=60")
    starting = asyncio.create_task(first.start(plan))
    await asyncio.sleep(0.001)
    await first.close()
    await starting
    assert first._watched == {}
    found = store.load(plan.run_id)
    assert found.agent is not None and process.is_alive(found.agent)
    assert (await first.get(plan.run_id)).alive and first._watched == {}
    second = RunManager(store, os.environ, agent_patience=0.6)
    await second.stop(plan.run_id)
    assert (await second.wait(plan.run_id)).state == "stopped"
    await second.close()


# -- how many


async def test_runs_that_start_are_counted_once(
    manager: RunManager, plan_for: PlanMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, go = process.start_agent, threading.Event()

    def held(*arguments: object) -> object:
        go.wait(20)
        return real(*arguments)  # type: ignore[arg-type]  # passed on as they are

    monkeypatch.setattr("server_ext.ddp.manager.MAXIMUM_ALIVE", 4)
    monkeypatch.setattr(process, "start_agent", held)
    plans = [plan_for("seconds=60", processes=1) for _ in range(3)]
    starts = [asyncio.create_task(manager.start(plan)) for plan in plans[:2]]
    deadline = time.monotonic() + 20
    while len(manager.store.all()) < 2:  # they have records, and are not watched yet
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)
    starts.append(asyncio.create_task(manager.start(plans[2])))
    while len(manager.store.all()) < 3 and not starts[2].done():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)
    go.set()
    assert len({run.id for run in await asyncio.gather(*starts)}) == 3


async def test_of_two_for_the_last_place_one_starts(
    manager: RunManager, plan_for: PlanMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server_ext.ddp.manager.MAXIMUM_ALIVE", 1)
    both = [manager.start(plan_for("seconds=60", processes=1)) for _ in range(2)]
    ends = await asyncio.gather(*both, return_exceptions=True)
    assert sorted(type(end).__name__ for end in ends) == ["Conflict", "Run"]


def test_a_record_does_not_grow_with_the_workers_of_many_epochs() -> None:
    members: tuple[Identity, ...] = (Identity(1, 5), Identity(2, 5, 0), Identity(3, 5, 1))
    ranks = members[1:2]
    for epoch in range(300):
        workers = [Identity(100 + 16 * epoch + number, 9, 0) for number in range(16)]
        members = merge(members, [*ranks, *workers])
        assert {one.key for one in (*ranks, *workers)} <= {one.key for one in members}
    assert len(members) <= MOST_MEMBERS
    assert {one.rank for one in members} >= {0, 1}  # rank 1 has gone long ago
    alive = [Identity(pid, 9) for pid in range(10**4, 10**4 + 2 * MOST_MEMBERS)]
    assert set(merge(members, alive)) >= set(alive)  # what is alive is never left out
