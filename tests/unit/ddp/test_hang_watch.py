"""Runs of the stand-in agent that hang, and that only seem to: with real processes and py-spy.

Their torch is a stand-in: a file at the place of torch/distributed/distributed_c10d.py whose
barrier() waits. The engine level has the real one.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from server_ext.ddp import hang_watch, stacks
from server_ext.ddp.gpu_watch import Gpu
from server_ext.ddp.hang_watch import HangWatch, Pace, pace_of
from server_ext.ddp.launch_plan import Plan
from server_ext.ddp.manager import RunManager
from server_ext.ddp.process import send_signal
from server_ext.ddp.runs import LOG, Run, RunStore
from server_ext.ddp.stacks import Stacks
from server_ext.ddp.usage import Device

pytestmark = pytest.mark.timeout(60)
PlanMaker = Callable[..., Plan]
PACE = Pace(sample=0.2, quiet=1.5, between=0.3, longest_wait=2.0)

BARRIER = """
import os, time
def barrier(go):
    while not os.path.exists(go):
        time.sleep(0.05)
"""


@pytest.fixture
async def quick(store: RunStore) -> AsyncIterator[RunManager]:
    """A manager that looks for hangs after a second or two, and leaves nothing."""
    manager = RunManager(store, os.environ, agent_patience=0.6, hang_pace=PACE)
    yield manager
    for run in await manager.all():
        await manager.stop(run.id)
        await manager.wait(run.id)
    await manager.close()


@pytest.fixture
def barrier(tmp_path: Path) -> Path:
    """The folder of a torch with a barrier that a file `go` opens."""
    folder = tmp_path / "fake"
    package = folder / "site-packages" / "torch" / "distributed"
    package.mkdir(parents=True)
    (package / "distributed_c10d.py").write_text(BARRIER)
    return folder


async def until(condition: Callable[[Run], bool], manager: RunManager, run: Run) -> Run:
    deadline = time.monotonic() + 25
    while time.monotonic() < deadline:
        run = await manager.get(run.id)
        if condition(run):
            return run
        assert run.alive, run
        await asyncio.sleep(0.05)
    raise AssertionError(f"never happened: {run}")


def write(manager: RunManager, run: Run, text: str) -> None:
    """As a rank would, into the run's log."""
    with open(manager.store.path(run.id, LOG), "a") as log:
        log.write(text)


def hangs(run: Run) -> bool:
    return run.hang is not None


async def test_a_rank_that_sleeps_while_the_others_wait(
    quick: RunManager, plan_for: PlanMaker, barrier: Path
) -> None:
    run = await quick.start(plan_for("seconds=50", f"barrier={barrier}", processes=3))
    run = await until(hangs, quick, run)
    assert run.hang is not None
    assert (run.hang.code, run.hang.rank) == ("rank-elsewhere", 1)
    waiting, asleep, _ = run.hang.ranks
    assert (waiting.kind, waiting.collective) == ("collective", "barrier()")
    assert asleep.kind == "sleep" and "stand_in_agent.py" in asleep.where
    assert any(frame.startswith("rank_main ") for frame in asleep.frames)
    assert run.started_at <= run.hang.since <= time.time()
    deadline = time.monotonic() + 10  # what is told is written just after
    while quick.store.load(run.id).hang != run.hang:  # for another browser, another server
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)
    view = run.view(str)["hang"]
    assert view["cause"].startswith("Rank 1 sleeps") and "barrier()" in view["cause"]


async def test_it_is_taken_back_when_the_run_goes_on(
    quick: RunManager, plan_for: PlanMaker, barrier: Path
) -> None:
    run = await quick.start(plan_for("seconds=50", f"barrier={barrier}"))
    await until(hangs, quick, run)
    write(quick, run, "[default1]:it goes on\n")
    run = await until(lambda run: run.hang is None, quick, run)
    again = await until(hangs, quick, run)  # but not for long
    assert again.hang is not None and again.hang.since > again.started_at


async def test_a_rank_that_computes_while_the_others_wait_is_no_hang(
    quick: RunManager, plan_for: PlanMaker, barrier: Path
) -> None:
    run = await quick.start(plan_for("seconds=50", "busy", f"barrier={barrier}"))
    end = time.monotonic() + 4 * PACE.quiet
    while time.monotonic() < end:
        assert (await quick.get(run.id)).hang is None
        await asyncio.sleep(0.1)


async def test_a_rank_that_is_stopped_by_a_signal(
    quick: RunManager, plan_for: PlanMaker, barrier: Path
) -> None:
    run = await quick.start(plan_for("seconds=50", "busy", f"barrier={barrier}"))
    run = await until(lambda run: len(run.members) == 3, quick, run)
    [rank] = [member for member in run.members if member.rank == 1]
    assert send_signal(rank, signal.SIGSTOP)
    run = await until(hangs, quick, run)
    assert run.hang is not None
    assert (run.hang.rank, run.hang.ranks[1].kind) == (1, "stopped")
    assert send_signal(rank, signal.SIGCONT)
    await until(lambda run: run.hang is None, quick, run)  # it works again


async def test_all_sleep(quick: RunManager, plan_for: PlanMaker) -> None:
    run = await quick.start(plan_for("seconds=50"))
    run = await until(hangs, quick, run)
    assert run.hang is not None and (run.hang.code, run.hang.rank) == ("idle", None)


async def test_how_it_stood_is_kept_when_it_is_stopped(
    quick: RunManager, plan_for: PlanMaker, barrier: Path
) -> None:
    run = await quick.start(plan_for("seconds=50", f"barrier={barrier}"))
    await until(hangs, quick, run)
    await quick.stop(run.id)
    ended = await quick.wait(run.id)
    assert (ended.state, ended.survivors) == ("stopped", ())
    assert ended.hang is not None and quick.store.load(run.id).hang == ended.hang


async def test_a_run_that_ends_well_after_all_has_none(
    quick: RunManager, plan_for: PlanMaker, barrier: Path
) -> None:
    run = await quick.start(plan_for("seconds=6", f"barrier={barrier}"))
    await until(hangs, quick, run)
    (barrier / "go").touch()
    ended = await quick.wait(run.id)
    assert (ended.state, ended.hang) == ("succeeded", None)


async def test_where_stacks_cannot_be_read_the_kernel_is_asked(
    quick: RunManager, plan_for: PlanMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(pid: int, program: str | None) -> Stacks:
        return Stacks(problem=stacks.NOT_ALLOWED)

    monkeypatch.setattr(stacks, "dump", refuse)
    run = await quick.start(plan_for("seconds=50"))
    run = await until(hangs, quick, run)
    assert run.hang is not None
    assert [one.kind for one in run.hang.ranks] == ["sleep", "sleep"]
    assert stacks.NOT_ALLOWED in run.view(str)["hang"]["cause"]


async def test_a_run_that_prints_has_no_stack_read(
    quick: RunManager, plan_for: PlanMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = []

    async def count(pid: int, program: str | None) -> Stacks:
        read.append(pid)
        return Stacks()

    monkeypatch.setattr(stacks, "dump", count)
    run = await quick.start(plan_for("seconds=50"))
    end = time.monotonic() + 3 * PACE.quiet
    while time.monotonic() < end:
        write(quick, run, "step\n")
        await asyncio.sleep(0.1)
    assert read == []


async def test_stacks_are_read_less_and_less_often(
    quick: RunManager, plan_for: PlanMaker, barrier: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds: list[float] = []
    look = HangWatch._round

    async def counted(self: HangWatch) -> None:
        rounds.append(time.monotonic())
        await look(self)

    monkeypatch.setattr(HangWatch, "_round", counted)
    run = await quick.start(plan_for("seconds=50", "busy", f"barrier={barrier}"))
    deadline = time.monotonic() + 30
    while len(rounds) < 3:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)
    first, second = rounds[1] - rounds[0], rounds[2] - rounds[1]
    assert first >= PACE.quiet and second >= PACE.longest_wait
    assert (await quick.get(run.id)).hang is None


async def test_ranks_that_rest_after_long_work_are_looked_at_all_the_same(
    quick: RunManager, plan_for: PlanMaker
) -> None:
    run = await quick.start(plan_for("seconds=50"))
    looking = quick._watched[run.id].hangs
    looking._next_round = time.monotonic() + 1000  # as after many rounds in vain
    await until(hangs, quick, run)


async def test_what_goes_wrong_in_it_does_not_end_the_run(
    quick: RunManager, plan_for: PlanMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("no /proc today")

    monkeypatch.setattr(hang_watch, "snapshot", broken)
    run = await quick.start(plan_for("seconds=1.5"))
    ended = await quick.wait(run.id)
    assert (ended.state, ended.hang) == ("succeeded", None)


@pytest.mark.parametrize(
    ("value", "quiet"),
    [("", 60), ("nonsense", 60), ("nan", 60), ("20", 20), ("0", 10), ("-5", 10), ("1e9", 3600)],
)
def test_the_pace_is_a_setting_within_bounds(value: str, quiet: float) -> None:
    assert pace_of({"GPUCAMP_DDP_QUIET": value}).quiet == quiet
    assert pace_of({}).quiet == 60


@pytest.mark.parametrize(
    ("environ", "variables", "at_work"),
    [
        ({}, {}, [False, True]),
        ({"GPUCAMP_SIMULATED": "1"}, {}, [False, False]),
        ({"GPUCAMP_SHARED": "1"}, {}, [False, False]),  # it may be a neighbour who works there
        ({}, {"CUDA_VISIBLE_DEVICES": "1,0"}, [False, False]),
    ],
)
async def test_whose_gpu_works(
    store: RunStore,
    plan_for: PlanMaker,
    quick: RunManager,
    environ: dict[str, str],
    variables: dict[str, str],
    at_work: list[bool],
) -> None:
    run = await quick.start(plan_for("seconds=0.1"))
    gpus = [Gpu(Device("GPU-0", utilization_percent=None), None)]
    gpus.append(Gpu(Device("GPU-1", utilization_percent=80), None))
    seen = HangWatch(
        store,
        lambda: replace(run, environment=variables),
        environ,
        lambda: gpus,
        logging.getLogger(),
        PACE,
    )
    await seen._sample()
    assert [seen._gpu_at_work(rank) for rank in range(2)] == at_work
