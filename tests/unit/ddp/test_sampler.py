"""The usage of runs of the stand-in agent: while they go on, after their end, elsewhere."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from server_ext import json_file
from server_ext.ddp import sampler
from server_ext.ddp.gpu_watch import GpuWatch
from server_ext.ddp.launch_plan import EXIT_CODE, Plan
from server_ext.ddp.manager import RunManager
from server_ext.ddp.runs import LOG, USAGE, Owner, Run, RunStore
from server_ext.ddp.sampler import LOG_BYTES, Sampler, endings, load, tick_seconds
from server_ext.ddp.usage import Usage
from server_ext.errors import NotFound

pytestmark = pytest.mark.timeout(60)
PlanMaker = Callable[..., Plan]


async def until(condition: Callable[[dict[str, Any]], Any], manager: RunManager, run: Run) -> Any:
    deadline = time.monotonic() + 20
    while not condition(told := await manager.usage(run.id)):
        assert time.monotonic() < deadline, told
        await asyncio.sleep(0.1)
    return told


def series(told: dict[str, Any], kind: str, of: object) -> list[float | None]:
    return next(
        (one["values"] for one in told["series"] if (one["kind"], one["of"]) == (kind, of)), []
    )


def both_alive(told: dict[str, Any]) -> bool:
    return [rank["state"] for rank in told["ranks"]] == ["waiting", "waiting"]


def test_how_torchrun_says_that_processes_ended() -> None:
    recorded = Path(__file__).with_name("recorded")
    assert endings((recorded / "exit-code.log").read_text()) == {31068: -15, 31069: 3}
    assert set(endings((recorded / "killed.log").read_text()).values()) == {-9, -15}
    said = "[default0]:failed (exitcode: 1) local_rank: 0 (pid: 5) of binary: x\n"
    assert endings(said) == {}  # a rank may print what it likes
    assert endings("") == {}


def test_a_short_run_is_sampled_more_often() -> None:
    ticks = [tick_seconds(at) for at in (0, 9, 30, 100, 1e6)]
    assert ticks == sorted(ticks) and ticks[0] < ticks[-1] <= 2


async def test_ranks_while_they_run_and_after_the_end(
    manager: RunManager, plan_for: PlanMaker
) -> None:
    run = await manager.start(plan_for("seconds=3"))
    told = await until(lambda told: series(told, "cpu", 1), manager, run)
    assert both_alive(told)
    assert all(rank["memory_bytes"] > 2**20 for rank in told["ranks"])
    members = {one.pid: one.rank for one in (await manager.get(run.id)).members}
    assert [members[rank["pid"]] for rank in told["ranks"]] == [0, 1]
    ended = await manager.wait(run.id)
    told = await manager.usage(run.id)
    assert [(r["state"], r["exit_code"]) for r in told["ranks"]] == [("ended", 0), ("ended", 0)]
    assert told["elapsed_seconds"] == pytest.approx((ended.ended_at or 0) - ended.started_at, 0.1)
    assert len(told["times"]) == len(series(told, "memory", 0)) > 2
    assert told["times"] == sorted(told["times"])
    again = RunManager(manager.store, os.environ)  # another server
    assert await again.usage(run.id) == told
    await again.close()


async def test_throughput_of_what_the_script_prints(
    manager: RunManager, plan_for: PlanMaker
) -> None:
    run = await manager.start(plan_for("seconds=4", "steps=5"))
    told = await until(lambda told: told["throughput"], manager, run)
    assert told["throughput"]["unit"] == "step"
    await manager.wait(run.id)
    told = await manager.usage(run.id)
    assert 5 < told["throughput"]["mean"] <= 75  # 50, and a machine may be slow
    assert any(series(told, "throughput", "step"))


async def test_a_rank_that_is_killed_says_by_what(manager: RunManager, plan_for: PlanMaker) -> None:
    # the stand-in does not report as torchrun does, so that its words are put into the log
    run = await manager.start(plan_for("seconds=60"))
    told = await until(both_alive, manager, run)
    pid = told["ranks"][1]["pid"]
    with manager.store.path(run.id, LOG).open("a") as log:
        log.write(f"E1124 failed (exitcode: -9) local_rank: 1 (pid: {pid}) of binary: python\n")
    os.kill(pid, signal.SIGKILL)
    await manager.wait(run.id)
    told = await manager.usage(run.id)
    assert [(r["exit_code"], r["signal"]) for r in told["ranks"]] == [
        (None, None),  # nobody said how it ended
        (-9, "SIGKILL"),
    ]


async def test_another_server_goes_on_where_the_first_was(
    store: RunStore, plan_for: PlanMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampler, "WRITE_SECONDS", 3600)  # what is kept, close() has written
    monkeypatch.setattr(sampler, "GAP_SECONDS", 0.1)
    first = RunManager(store, os.environ, agent_patience=0.6)
    run = await first.start(plan_for("seconds=60"))
    await until(both_alive, first, run)
    await asyncio.sleep(1)
    await first.close()
    await asyncio.sleep(0.3)
    kept = load(store.path(run.id, USAGE))
    assert kept is not None and len(kept.times) >= 2
    record = store.load(run.id)
    store.save(replace(record, owner=replace(record.owner, started=1)))
    second = RunManager(store, os.environ, agent_patience=0.6)
    await second.all()
    told = await until(lambda told: len(told["times"]) > len(kept.times) + 2, second, run)
    assert told["times"][: len(kept.times)] == kept.times
    assert None in series(told, "memory", 0)[len(kept.times) :]  # nobody looked for a while
    assert [rank["starts"] for rank in told["ranks"]] == [1, 1]
    await second.stop(run.id)
    await second.wait(run.id)
    assert {rank["state"] for rank in (await second.usage(run.id))["ranks"]} == {"ended"}
    await second.close()


async def test_a_run_of_a_container_that_ended_keeps_its_usage(
    manager: RunManager, store: RunStore, plan_for: PlanMaker
) -> None:
    run = await manager.start(plan_for("seconds=2"))
    await until(both_alive, manager, run)
    run = await manager.wait(run.id)
    kept = json.loads(store.path(run.id, USAGE).read_text())
    for rank in kept["ranks"]:
        rank.update(state="running", ended_at=None, exit_code=None)
    json_file.write(store.path(run.id, USAGE), kept)
    store.path(run.id, EXIT_CODE).unlink()  # as if it had been killed with its container
    elsewhere = Owner("a container that has gone", "", 1, 1)
    store.save(replace(run, state="running", ended_at=None, exit_code=None, owner=elsewhere))
    lost = await manager.get(run.id)
    assert lost.state == "lost"
    told = await manager.usage(run.id)
    assert [(r["state"], r["exit_code"]) for r in told["ranks"]] == [("ended", None)] * 2
    assert told["times"][: len(kept["times"])] == kept["times"]


async def test_no_file_and_a_damaged_file_are_nothing(
    manager: RunManager, plan_for: PlanMaker
) -> None:
    with pytest.raises(NotFound):
        await manager.usage("20260131-120000-1a2b3c")
    run = await manager.wait((await manager.start(plan_for("seconds=1"))).id)
    for text in ("", "[]", "{", "[" * 100_000, json.dumps({"times": 3})):
        manager.store.path(run.id, USAGE).write_text(text)
        told = await manager.usage(run.id)
        assert (told["times"], told["ranks"], told["series"]) == ([], [], [])
    manager.store.path(run.id, USAGE).unlink()
    assert (await manager.usage(run.id))["ranks"] == []


async def test_a_full_volume_does_not_end_the_run_or_its_watch(
    manager: RunManager, plan_for: PlanMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(sampler.json_file, "write", full)
    monkeypatch.setattr(RunStore, "save", lambda *_: None)
    run = await manager.start(plan_for("seconds=1.5"))
    await until(both_alive, manager, run)
    await manager._watched[run.id].task
    monkeypatch.undo()
    manager.store.save(replace(run, state="succeeded"))


async def test_a_log_that_floods_costs_a_bounded_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / LOG
    record = Run("x", "s", "c", (), 1, "/", Owner("", "", 1, 1), started_at=time.time())
    one = Sampler(lambda: record, tmp_path / USAGE, log, GpuWatch(), logging.getLogger("test"))
    read = 0
    original = sampler.logs.read

    def counted(path: str, offset: int, count: int) -> bytes:
        nonlocal read
        data = original(path, offset, count)
        read += len(data)
        return data

    monkeypatch.setattr(sampler.logs, "read", counted)
    usage = Usage()
    log.write_text("[default0]:step=1\n")
    await one._look_at_log(usage)
    with log.open("a") as file:
        for step in range(2, 60_002):
            file.write(f"[default0]:step={step} {'x' * 60}\n")
    await asyncio.sleep(0.05)
    told = await one._look_at_log(usage)
    assert told is not None and told[0] == "step"
    assert one._throughput._counters["step"].total == 60_000
    assert read <= 2 * LOG_BYTES < log.stat().st_size
    with log.open("a") as file:
        file.write("[default0]:step=6")  # half a line
        file.flush()
        await one._look_at_log(usage)
        file.write("0002\n")
    await asyncio.sleep(0.05)
    await one._look_at_log(usage)
    assert one._throughput._counters["step"].total == 60_001


async def test_an_older_file_never_lands_after_the_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = Run("x", "s", "c", (), 1, "/", Owner("", "", 1, 1), started_at=time.time())
    one = Sampler(
        lambda: record, tmp_path / USAGE, tmp_path / LOG, GpuWatch(), logging.getLogger("test")
    )
    original, slow = json_file.write, [0.5, 0.0]

    def write(path: Path, value: Any, **options: Any) -> None:
        time.sleep(slow.pop(0))
        original(path, value, **options)

    monkeypatch.setattr(sampler.json_file, "write", write)
    one.usage = Usage(times=[1.0])
    writing = asyncio.create_task(one._write())
    await asyncio.sleep(0.1)
    writing.cancel()
    await asyncio.wait([writing])
    one.usage = Usage(times=[1.0, 2.0])
    await one._write()
    await asyncio.sleep(0.6)
    kept = load(tmp_path / USAGE)
    assert kept is not None and kept.times == [1.0, 2.0]


async def test_silence_after_the_last_step_is_not_taken_for_slowness(tmp_path: Path) -> None:
    log = tmp_path / LOG
    begun = time.time() - 100
    record = Run("x", "s", "c", (), 1, "/", Owner("", "", 1, 1), started_at=begun)
    one = Sampler(lambda: record, tmp_path / USAGE, log, GpuWatch(), logging.getLogger("test"))
    usage = Usage()
    for at, step in ((10, 0), (20, 100)):
        with log.open("a") as file:
            file.write(f"[default0]:step={step}\n")
        os.utime(log, (begun + at, begun + at))
        await one._look_at_log(usage)  # eighty seconds later
    assert usage.throughput is not None
    assert usage.throughput["mean"] == pytest.approx(10, rel=0.01)
    one.usage = usage
    with log.open("a") as file:
        file.write("[default0]:step=101\n")
    await one.finish(0, "")
    assert usage.throughput["mean"] == pytest.approx(10, rel=0.01)
