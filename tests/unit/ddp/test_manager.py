"""Runs of a stand-in agent: endings, stops, restarts of the server; never a rank left behind."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from server_ext.ddp import process
from server_ext.ddp.launch_plan import EXIT_CODE, Plan
from server_ext.ddp.manager import MAXIMUM_ALIVE, RunManager
from server_ext.ddp.runs import LOG, SUCCEEDED, Run, RunStore
from server_ext.ddp.seed import ARGUMENTS, ENVIRONMENT, PRINTED, Seed
from server_ext.errors import Conflict, NotFound

pytestmark = pytest.mark.timeout(60)
PlanMaker = Callable[..., Plan]


async def until(condition: Callable[[Run], bool], manager: RunManager, run: Run) -> Run:
    """The run once `condition` holds for it."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        run = await manager.get(run.id)
        if condition(run):
            return run
        await asyncio.sleep(0.05)
    raise AssertionError(f"never happened: {run}")


def has_ranks(count: int) -> Callable[[Run], bool]:
    return lambda run: sum(member.rank is not None for member in run.members) == count


def over(run: Run) -> bool:
    return not run.alive


def start_stranger() -> subprocess.Popen[bytes]:
    """A process that is none of ours."""
    return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])


def environment_of(member: process.Identity) -> bytes:
    return Path(f"/proc/{member.pid}/environ").read_bytes()


def alive(run: Run) -> list[process.Identity]:
    return process.find_processes(run.id, run.members)


async def test_a_run_that_ends_well(manager: RunManager, plan_for: PlanMaker) -> None:
    plan = plan_for("seconds=1")
    run = await manager.start(plan)
    assert (run.state, run.command, run.exit_code) == ("starting", plan.command, None)
    running = await until(lambda run: run.state == "running", manager, run)
    assert {member.rank for member in running.members} >= {None}
    ended = await manager.wait(run.id)
    assert (ended.state, ended.exit_code, ended.diagnosis) == ("succeeded", 0, None)
    assert ended.ended_at is not None and ended.ended_at - ended.started_at >= 1
    assert manager.store.load(run.id) == ended  # what is kept is what was told
    text = manager.store.path(run.id, LOG).read_text()
    assert text.count("loss=0.5") == 2


async def test_warnings_are_remarked_on_where_a_run_succeeded(
    manager: RunManager, plan_for: PlanMaker
) -> None:
    """Also where the warning is long out of the end of the log that is read."""
    words = "[W1 x.cpp:1] Warning: WARNING: destroy_process_group() was not called before"
    run = await manager.wait((await manager.start(plan_for(f"say={words}", "megabytes=1"))).id)
    assert run.remarks == ("not-destroyed",)
    assert manager.store.load(run.id) == run
    assert [one["code"] for one in run.view(str)["remarks"]] == ["not-destroyed"]
    later = replace(run, remarks=("of-a-later-version",))
    assert later.view(str)["remarks"] == []
    failed = await manager.wait((await manager.start(plan_for(f"say={words}", "exit=3"))).id)
    assert (failed.state, failed.remarks) == ("failed", ())


async def test_the_seed_is_in_the_record(manager: RunManager, plan_for: PlanMaker) -> None:
    async def ended(*behaviour: str, **asked: object) -> Seed | None:
        run = await manager.start(plan_for(*behaviour, **asked))
        run = await manager.wait(run.id)
        assert manager.store.load(run.id).seed == run.seed
        return run.seed

    assert await ended("--seed", "7", "say=seed=8") == Seed("7", ARGUMENTS)
    assert await ended("say=seed=8", environment={"SEED": "9"}) == Seed("8", PRINTED)
    assert await ended(environment={"SEED": "9"}) == Seed("9", ENVIRONMENT)
    assert await ended() is None


async def test_the_seed_is_known_while_the_run_goes_on(
    manager: RunManager, plan_for: PlanMaker
) -> None:
    run = await manager.start(plan_for("seconds=60", "say=Global seed set to 42"))
    await until(lambda run: run.seed == Seed("42", PRINTED), manager, run)
    await manager.stop(run.id)
    assert (await manager.wait(run.id)).seed == Seed("42", PRINTED)


async def test_a_run_that_fails_is_explained(manager: RunManager, plan_for: PlanMaker) -> None:
    run = await manager.start(plan_for("exit=3"))
    ended = await manager.wait(run.id)
    assert (ended.state, ended.exit_code) == ("failed", 1)
    assert ended.diagnosis is not None


async def test_a_command_that_is_not_there_is_a_failed_run(
    manager: RunManager, plan_for: PlanMaker
) -> None:
    run = await manager.start(plan_for(launcher=("/nowhere/torchrun",)))
    assert run.state == "failed" and run.diagnosis is not None
    assert run.diagnosis.code == "not-started"
    assert manager.store.load(run.id) == run


async def test_each_change_is_told_and_the_end_once_and_last(
    store: RunStore, plan_for: PlanMaker
) -> None:
    told: list[Run] = []
    manager = RunManager(store, os.environ, agent_patience=0.6, changed=told.append)
    for plan, state in (
        (plan_for("seconds=0"), "succeeded"),
        (plan_for("exit=3"), "failed"),
        (plan_for(launcher=("/nowhere/torchrun",)), "failed"),
    ):
        run = await manager.start(plan)
        ended = await manager.wait(run.id)
        assert told[-1] == ended
        assert [each.state for each in told if not each.alive] == [state]
        told.clear()
    run = await manager.start(plan_for("seconds=60"))
    await until(lambda run: run.state == "running", manager, run)
    assert told[-1].state == "running"
    await manager.stop(run.id)
    ended = await manager.wait(run.id)
    assert (told[-1], told[-1].state) == (ended, "stopped")
    await manager.close()


async def test_whoever_takes_a_run_over_tells_of_it(store: RunStore, plan_for: PlanMaker) -> None:
    """The one before may have ended before it was told."""
    first = RunManager(store, os.environ)
    run = await first.start(plan_for("seconds=60"))
    await until(has_ranks(2), first, run)
    await first.close()
    told: list[Run] = []
    second = RunManager(store, os.environ, agent_patience=0.6, changed=told.append)
    await until(lambda run: bool(told), second, run)
    # the first one may have had no time to write that its ranks are there
    assert (told[0].id, told[0].alive) == (run.id, True)
    await second.stop(run.id)
    assert (await second.wait(run.id)).state == told[-1].state == "stopped"
    await second.close()


async def test_stop_ends_willing_ranks_through_their_agent(
    manager: RunManager, plan_for: PlanMaker
) -> None:
    manager._agent_patience = 60
    run = await manager.start(plan_for("seconds=60"))
    run = await until(has_ranks(2), manager, run)
    await manager.stop(run.id)
    ended = await manager.wait(run.id)
    # the agent's own exit code: it was not killed
    assert (ended.state, ended.exit_code, ended.survivors) == ("stopped", 1, ())
    assert not alive(run)


@pytest.mark.parametrize(
    "behaviour",
    [
        ("stubborn",),
        ("stubborn-agent",),
        ("stubborn", "stubborn-agent"),
        ("stubborn", "grandchild"),
        ("helper",),
    ],
    ids="+".join,
)
async def test_stop_leaves_nothing(
    manager: RunManager, plan_for: PlanMaker, behaviour: tuple[str, ...]
) -> None:
    run = await manager.start(plan_for("seconds=60", *behaviour))
    extra = 2 * ("grandchild" in behaviour or "helper" in behaviour)
    run = await until(lambda run: len(run.members) == 3 + extra, manager, run)
    everyone = run.members
    await manager.stop(run.id)
    ended = await manager.wait(run.id)
    assert (ended.state, ended.survivors) == ("stopped", ())
    assert not [member for member in everyone if process.is_alive(member)]


async def test_stop_twice_and_after_the_end(manager: RunManager, plan_for: PlanMaker) -> None:
    run = await manager.start(plan_for("seconds=60"))
    await asyncio.gather(*(manager.stop(run.id) for _ in range(5)))
    ended = await manager.wait(run.id)
    assert ended.state == "stopped"
    assert await manager.stop(run.id) == ended


async def test_stop_while_it_starts(manager: RunManager, plan_for: PlanMaker) -> None:
    plan = plan_for("seconds=60")
    starting = asyncio.create_task(manager.start(plan))
    await asyncio.sleep(0)
    await manager.stop(plan.run_id)
    await starting
    assert (await manager.wait(plan.run_id)).state == "stopped"


async def test_a_cancelled_start_is_not_lost(manager: RunManager, plan_for: PlanMaker) -> None:
    plan = plan_for("seconds=60")
    starting = asyncio.create_task(manager.start(plan))
    await asyncio.sleep(0.001)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    await manager.stop(plan.run_id)
    assert (await manager.wait(plan.run_id)).state == "stopped"


async def test_orphans_of_a_killed_agent_are_ended(
    manager: RunManager, plan_for: PlanMaker
) -> None:
    run = await manager.start(plan_for("seconds=60", "stubborn", processes=3))
    run = await until(has_ranks(3), manager, run)
    assert run.agent is not None
    os.kill(run.agent.pid, signal.SIGKILL)
    ended = await manager.wait(run.id)
    assert (ended.state, ended.exit_code, ended.survivors) == ("failed", -9, ())
    assert ended.diagnosis is not None and ended.diagnosis.code == "launcher-killed"
    assert not alive(run)


async def test_after_a_success_helpers_may_finish_but_not_stay(
    manager: RunManager, plan_for: PlanMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server_ext.ddp.run_watch.AFTER_SUCCESS", 1.0)
    run = await manager.start(plan_for("grandchild", "seconds=0.5"))
    ended = await manager.wait(run.id)
    assert (ended.state, ended.exit_code) == ("succeeded", 0)
    assert not alive(ended)


async def test_a_stranger_with_a_recorded_pid_is_not_touched(
    manager: RunManager, plan_for: PlanMaker
) -> None:
    """The pid of a rank that has ended was given to someone else."""
    stranger = start_stranger()
    try:
        real = process.identify(stranger.pid)
        assert real is not None
        stale = replace(real, started=real.started - 1, rank=1)
        assert not process.is_alive(stale)
        assert not process.send_signal(stale, signal.SIGKILL)
        left = await process.end_all(
            "20260101-000000-abcdef", [stale], agent=stale, agent_patience=1, patience=0.2
        )
        assert left == []
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


async def test_a_run_goes_on_without_its_server_and_is_taken_over(
    manager: RunManager, plan_for: PlanMaker, store: RunStore
) -> None:
    run = await manager.start(plan_for("seconds=60"))
    run = await until(has_ranks(2), manager, run)
    await manager.close()  # the first server ends ...
    assert run.agent is not None and process.is_alive(run.agent)
    gone = replace(run, owner=replace(run.owner, pid=run.owner.pid, started=1))
    store.save(gone)
    second = RunManager(store, os.environ, agent_patience=0.6)  # ... another comes
    found = (await second.all())[0]
    assert (found.id, found.state) == (run.id, "running")
    await second.stop(run.id)
    assert (await second.wait(run.id)).state == "stopped"
    assert not alive(run)
    await second.close()


@pytest.mark.parametrize(
    ("behaviour", "state", "exit_code"),
    [(("seconds=1",), "succeeded", 0), (("seconds=1", "exit=3"), "failed", 1)],
)
async def test_a_run_that_ended_while_nobody_watched(
    plan_for: PlanMaker,
    store: RunStore,
    behaviour: tuple[str, ...],
    state: str,
    exit_code: int,
) -> None:
    first = RunManager(store, os.environ)
    run = await first.start(plan_for(*behaviour))
    run = await until(has_ranks(2), first, run)
    await first.close()
    store.save(replace(run, owner=replace(run.owner, started=1)))
    assert run.agent is not None
    async with asyncio.timeout(60):
        while process.is_alive(run.agent):  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.05)
    second = RunManager(store, os.environ)
    found = await until(over, second, run)
    assert (found.state, found.exit_code) == (state, exit_code)
    assert (found.diagnosis is None) == (state == "succeeded")
    await second.close()


async def test_a_run_whose_processes_went_with_the_server_is_lost(
    plan_for: PlanMaker, store: RunStore
) -> None:
    first = RunManager(store, os.environ)
    run = await first.start(plan_for("seconds=60"))
    run = await until(has_ranks(2), first, run)
    await first.close()
    store.save(replace(run, owner=replace(run.owner, started=1)))
    for member in run.members:
        process.send_signal(member, signal.SIGKILL)
    second = RunManager(store, os.environ)
    found = await until(over, second, run)
    assert (found.state, found.exit_code) == ("lost", None)
    assert found.diagnosis is not None and found.diagnosis.code == "server-ended"
    assert store.load(run.id).state == "lost"
    await second.close()


@pytest.mark.parametrize(("told", "code"), [(True, "server-stopped"), (False, "server-ended")])
async def test_history_tells_a_server_that_was_stopped_from_one_that_ended(
    plan_for: PlanMaker, store: RunStore, told: bool, code: str
) -> None:
    first = RunManager(store, os.environ)
    run = await first.start(plan_for("seconds=60"))
    run = await until(has_ranks(2), first, run)
    await first.close()
    if not told:
        store.forget_server_stop(run.id)
    store.save(replace(run, owner=replace(run.owner, host="the container before")))
    for member in run.members:
        process.send_signal(member, signal.SIGKILL)
    second = RunManager(store, os.environ)
    found = await until(over, second, run)
    assert found.diagnosis is not None and found.diagnosis.code == code
    await second.close()


async def test_ranks_without_agent_and_server_are_ended_by_the_next_server(
    plan_for: PlanMaker, store: RunStore
) -> None:
    first = RunManager(store, os.environ)
    run = await first.start(plan_for("seconds=60", "stubborn"))
    run = await until(has_ranks(2), first, run)
    await first.close()
    store.save(replace(run, owner=replace(run.owner, started=1)))
    assert run.agent is not None
    process.send_signal(run.agent, signal.SIGKILL)
    second = RunManager(store, os.environ)
    await until(over, second, run)
    assert not alive(run)
    await second.close()


async def test_a_run_of_a_container_that_has_gone_is_lost_and_its_pids_mean_nothing(
    manager: RunManager, plan_for: PlanMaker, store: RunStore
) -> None:
    stranger = start_stranger()
    try:
        identity = process.identify(stranger.pid)
        run = await manager.start(plan_for())
        run = await manager.wait(run.id)
        assert identity is not None
        store.path(run.id, EXIT_CODE).unlink()  # as if it had been killed with its container
        elsewhere = replace(
            run,
            state="running",
            owner=replace(run.owner, host="another container"),
            agent=identity,
            members=(identity,),
        )
        store.save(elsewhere)
        found = await until(over, manager, run)
        assert found.state == "lost"
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


async def test_a_run_of_another_server_is_shown_and_left_alone(
    manager: RunManager, plan_for: PlanMaker, store: RunStore
) -> None:
    run = await manager.wait((await manager.start(plan_for())).id)
    other = replace(run, state="running", owner=replace(run.owner, host="other", server="second"))
    store.save(other)
    assert (await manager.get(run.id)).state == "running"
    assert await manager.alive() == []
    await manager.stop(run.id)  # its own server sees the wish
    assert store.stop_requested(run.id)
    assert store.load(run.id) == other
    os.utime(store.path(run.id, "run.json"), (1, 1))  # its server has not been seen for long
    assert (await manager.get(run.id)).state == "lost"
    assert store.load(run.id) == other


async def test_a_wish_left_on_disk_is_obeyed(
    manager: RunManager, plan_for: PlanMaker, store: RunStore
) -> None:
    run = await manager.start(plan_for("seconds=60"))
    await until(has_ranks(2), manager, run)
    store.request_stop(run.id)
    assert (await until(over, manager, run)).state == "stopped"


async def test_bounds(manager: RunManager, plan_for: PlanMaker) -> None:
    with pytest.raises(NotFound):
        await manager.get("20260101-000000-000000")
    for bad in ("../../etc", "", "20260101-000000-00000g", "20260101-000000-000000/.."):
        with pytest.raises(NotFound):
            await manager.get(bad)
    plan = plan_for()
    await manager.wait((await manager.start(plan)).id)
    with pytest.raises(Conflict):
        await manager.start(plan)  # the same id again: once is enough
    for _ in range(MAXIMUM_ALIVE):
        await manager.start(plan_for("seconds=60", processes=1))
    with pytest.raises(Conflict):
        await manager.start(plan_for())


@pytest.mark.parametrize(
    ("folder", "reason"), [("x" * 300, "File name too long"), ("file", "a file is in its place")]
)
async def test_a_folder_for_runs_that_cannot_be_made_is_told(
    tmp_path: Path, folder: str, reason: str, plan_for: PlanMaker
) -> None:
    (tmp_path / "file").touch()
    store = RunStore(str(tmp_path / folder))
    plan = replace(plan_for(), run_id=store.new_id())
    with pytest.raises(Conflict) as refused:
        await RunManager(store, os.environ).start(plan)
    assert refused.value.params == {"reason": reason}


async def test_what_was_asked_for_is_in_the_record(
    manager: RunManager, plan_for: PlanMaker, store: RunStore
) -> None:
    plan = plan_for(environment={"SEED": "1"}, max_restarts=1, shown_ranks=(1,))
    run = await manager.wait((await manager.start(plan)).id)
    assert run.state == SUCCEEDED
    assert run == store.load(run.id)
    view = run.view(str)
    assert (view["environment"], view["max_restarts"]) == ({"SEED": "1"}, 1)
    assert (view["hidden_ranks"], view["is_module"]) == ([0], False)


async def test_a_record_of_an_older_version_is_read(
    manager: RunManager, plan_for: PlanMaker, store: RunStore
) -> None:
    run = await manager.wait((await manager.start(plan_for())).id)
    file = store.path(run.id, "run.json")
    record = json.loads(file.read_text())
    for name in ("is_module", "environment", "max_restarts", "hidden_ranks", "seed"):
        del record[name]
    file.write_text(json.dumps(record))
    assert store.load(run.id) == run


async def test_the_child_has_no_secret_of_the_server(store: RunStore, plan_for: PlanMaker) -> None:
    environ = {**os.environ, "JUPYTERHUB_API_TOKEN": "hunter2", "JPY_API_TOKEN": "hunter2"}
    manager = RunManager(store, environ)
    run = await manager.start(plan_for("seconds=60"))
    run = await until(has_ranks(2), manager, run)
    for member in run.members:
        assert b"hunter2" not in environment_of(member)
    await manager.stop(run.id)
    await manager.wait(run.id)
    await manager.close()


@pytest.mark.timeout(110)
async def test_random_kills_leave_nothing_and_take_nothing_else(
    plan_for: PlanMaker, store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Agents, ranks, watchers and whole servers end at random moments, beside a run left alone."""
    monkeypatch.setattr("server_ext.ddp.manager.MAXIMUM_ALIVE", 100)
    chance = random.Random(20261124)  # noqa: S311 - the same moments each time
    manager = RunManager(store, os.environ, agent_patience=0.5)
    bystander = await manager.start(plan_for("seconds=600"))
    bystander = await until(has_ranks(2), manager, bystander)
    runs: list[Run] = []
    for _ in range(8):
        behaviour = chance.choice([(), ("stubborn",), ("grandchild",), ("stubborn-agent",)])
        run = await manager.start(plan_for("seconds=600", *behaviour))
        runs.append(run)
        await asyncio.sleep(chance.random() * 0.5)
        deed = chance.choice(["agent", "rank", "server", "stop", "stop, server"])
        run = await manager.get(run.id)
        if deed == "agent" and run.agent is not None:
            process.send_signal(run.agent, signal.SIGKILL)
        elif deed == "rank":
            ranks = [one for one in alive(run) if one.rank is not None]
            for rank in ranks[:1]:
                process.send_signal(rank, signal.SIGKILL)
        if "stop" in deed:
            await manager.stop(run.id)
            await asyncio.sleep(chance.random() * 0.3)
        if "server" in deed:
            await manager.close()  # as a killed one: nothing is written, children go on
            for record in store.all():
                if record.alive:
                    store.save(replace(record, owner=replace(record.owner, started=1)))
            manager = RunManager(store, os.environ, agent_patience=0.5)
            await manager.all()
    for run in runs:
        await manager.stop(run.id)
    for run in runs:
        ended = await until(over, manager, run)
        assert ended.survivors == ()
        assert not alive(ended), (ended.id, ended.state)
    assert len(alive(bystander)) == 3
    await manager.stop(bystander.id)
    await until(over, manager, bystander)
    assert not alive(bystander)
    await manager.close()
