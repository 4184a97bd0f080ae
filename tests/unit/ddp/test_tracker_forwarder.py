"""A run's numbers reach stand-ins for wandb and tensorboardX; the real ones are in tests/engine."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from server_ext.ddp import logs
from server_ext.ddp.launch_plan import Plan
from server_ext.ddp.manager import RunManager
from server_ext.ddp.process import find_processes
from server_ext.ddp.runs import LOG, RunStore
from server_ext.ddp.trackers import forwarder
from server_ext.ddp.trackers.choice import TENSORBOARD, WANDB, Tracker

PlanMaker = Callable[..., Plan]

PACKAGES = Path(__file__).with_name("tracker_packages")
# a rank of the stand-in agent prints loss=0.5 at its end
LAST_SCALAR = {"scalar": "loss", "value": 0.5, "step": 2}
LINES = "step=1 loss=0.5\n[default0]:step=2 loss=0.25 rank=0\n[default1]:loss=9"


@pytest.fixture
def calls(tmp_path: Path) -> Callable[[], list[dict[str, Any]]]:
    def read() -> list[dict[str, Any]]:
        path = tmp_path / "calls"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    return read


@pytest.fixture
def both(tmp_path: Path) -> tuple[Tracker, ...]:
    return (Tracker(TENSORBOARD, str(tmp_path / "runs")), Tracker(WANDB, "class", offline=False))


@pytest.fixture
def variables(tmp_path: Path) -> dict[str, str]:
    return {
        "PYTHONPATH": str(PACKAGES),
        "TRACKER_CALLS": str(tmp_path / "calls"),
        "WANDB_API_KEY": "s3cret",
    }


def files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


async def ended(manager: RunManager, run_id: str) -> dict[str, dict[str, str]]:
    await manager.wait(run_id)
    await manager.sent(run_id, 30)
    return {one["name"]: one for one in await manager.trackers(run_id)}


async def test_rank_0s_numbers_reach_both(
    manager: RunManager,
    plan_for: PlanMaker,
    both: tuple[Tracker, ...],
    variables: dict[str, str],
    calls: Callable[[], list[dict[str, Any]]],
    store: RunStore,
) -> None:
    plan = plan_for(f"say={LINES}", "seconds=0.5", goes_to=both, environment=variables)
    run = await manager.start(plan)
    states = await ended(manager, run.id)
    assert {name: one["state"] for name, one in states.items()} == {
        TENSORBOARD: "closed",
        WANDB: "closed",
    }
    assert states[WANDB]["where"] == "https://wandb.example/run"
    assert states[TENSORBOARD]["where"].endswith(f"runs/train-{run.id}")
    seen = calls()
    assert [one for one in seen if "scalar" in one] == [
        {"scalar": "loss", "value": 0.5, "step": 1},
        {"scalar": "loss", "value": 0.25, "step": 2},
        LAST_SCALAR,
    ]
    assert [one["log"] for one in seen if "log" in one] == [
        {"loss": 0.5, "step": 1.0},
        {"loss": 0.25, "step": 2.0},
        {"loss": 0.5},
    ]
    (init,) = [one for one in seen if "init" in one]
    assert init["init"]["id"] == run.id and init["init"]["project"] == "class"
    assert init["init"]["config"]["processes"] == 2
    assert init["mark"] is None  # it is no process of the run, which a stop would end
    assert {"metric": "loss", "over": "step"} in seen
    assert {"finish": 0} in seen
    # the key is in none of our files
    written = files_below(store.path(run.id))
    assert written and not [path for path in written if b"s3cret" in path.read_bytes()]
    assert "WANDB_API_KEY" not in (await manager.get(run.id)).environment


async def test_without_numbers_nothing_is_started(
    manager: RunManager, plan_for: PlanMaker, both: tuple[Tracker, ...], store: RunStore
) -> None:
    run = await manager.start(plan_for("seconds=50", goes_to=both))
    await asyncio.sleep(1.5)
    await manager.stop(run.id)
    states = await ended(manager, run.id)
    assert {one["state"] for one in states.values()} == {"waiting"}
    assert not (store.path(run.id) / forwarder.TOLD).exists()


async def test_a_run_without_trackers_has_no_file_of_them(
    manager: RunManager, plan_for: PlanMaker, store: RunStore
) -> None:
    run = await manager.start(plan_for(f"say={LINES}"))
    assert await ended(manager, run.id) == {}
    assert not list(store.path(run.id).glob("trackers*"))


@pytest.mark.parametrize(
    ("behaviour", "state", "reason"),
    [
        ("refuses", "failed", "api_key not configured"),
        ("exits", "failed", "3"),
        ("breaks", "failed", "connection lost"),
        ("slow", "closed", ""),
    ],
)
async def test_what_goes_wrong_with_one_is_told_and_keeps_nothing_from_the_other(
    manager: RunManager,
    plan_for: PlanMaker,
    both: tuple[Tracker, ...],
    variables: dict[str, str],
    calls: Callable[[], list[dict[str, Any]]],
    behaviour: str,
    state: str,
    reason: str,
) -> None:
    lines = "\n[default0]:".join(f"loss={n}" for n in range(5))
    variables = {**variables, "WANDB_STAND_IN": behaviour}
    plan = plan_for(f"say={lines}", goes_to=both, environment=variables)
    run = await manager.start(plan)
    states = await ended(manager, run.id)
    assert (await manager.get(run.id)).state == "succeeded"
    assert states[WANDB]["state"] == state and reason in states[WANDB]["reason"]
    assert states[TENSORBOARD]["state"] == "closed"
    assert [one["step"] for one in calls() if "scalar" in one] == list(range(6))


async def test_a_package_that_is_not_installed_is_named(
    manager: RunManager, plan_for: PlanMaker, both: tuple[Tracker, ...]
) -> None:
    run = await manager.start(plan_for(f"say={LINES}", goes_to=both))
    states = await ended(manager, run.id)
    assert states[WANDB]["state"] == "missing" and "wandb" in states[WANDB]["reason"]
    assert states[TENSORBOARD]["state"] == "missing"


async def test_a_python_that_is_gone_is_told(
    manager: RunManager, plan_for: PlanMaker, both: tuple[Tracker, ...], store: RunStore
) -> None:
    plan = plan_for(f"say={LINES}", "seconds=3", goes_to=both)
    run = await manager.start(plan)
    kept = forwarder.load(store.path(run.id))
    assert kept is not None
    await ended(manager, run.id)
    kept.python = "/nowhere/python"
    forwarder.save(store.path(run.id), kept)
    one = forwarder.Forwarder(run.id, store.path(run.id), store.path(run.id, LOG), {}, manager._log)
    one.end(0)
    await one.watch()
    told = forwarder.load(store.path(run.id))
    assert told is not None
    assert {(state["state"], state["reason"]) for state in told.states} == {
        ("failed", "No such file or directory")
    }


async def test_a_server_that_takes_over_goes_on_where_the_first_ended(
    store: RunStore,
    plan_for: PlanMaker,
    both: tuple[Tracker, ...],
    variables: dict[str, str],
    calls: Callable[[], list[dict[str, Any]]],
) -> None:
    first = RunManager(store, os.environ)
    plan = plan_for("say=loss=1", "steps=5", "seconds=4", goes_to=both, environment=variables)
    run = await first.start(plan)
    deadline = time.monotonic() + 30
    while not any("log" in one for one in calls()):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)
    await asyncio.sleep(1.2)  # until what was handed over is written down
    await first.close()
    environ = {**os.environ, **variables}
    second = RunManager(store, environ)
    assert (await second.get(run.id)).alive
    states = await ended(second, run.id)
    assert states[WANDB]["state"] == "closed"
    steps = [one["log"].get("step") for one in calls() if "log" in one]
    assert steps == [None, *range(0, 200, 10), None]  # each once
    assert {"finish": 255} in calls()  # the taker cannot know the exit code of another's child
    await second.close()


async def test_a_log_that_outruns_it_is_read_on_further_ahead(
    manager: RunManager,
    plan_for: PlanMaker,
    both: tuple[Tracker, ...],
    variables: dict[str, str],
    calls: Callable[[], list[dict[str, Any]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(forwarder, "AT_ONCE", 2**17)
    monkeypatch.setattr(forwarder, "FAR", 2**20)
    plan = plan_for("say=loss=1", "megabytes=20", "seconds=1", goes_to=both, environment=variables)
    run = await manager.start(plan)
    await ended(manager, run.id)
    assert logs.length(str(manager.store.path(run.id, LOG))) > 15 * 2**20
    assert (await manager.get(run.id)).state == "succeeded"


def test_no_process_of_a_tracker_is_left() -> None:
    """Runs last of this file: each test's runs have ended, and so have their programs."""
    mine = [
        name
        for name in os.listdir("/proc")
        if name.isdigit() and "write_points.py" in _command(name)
    ]
    assert not [name for name in mine if _parent(name) == os.getpid()]
    assert find_processes("20260131-120000-1a2b3c") == []


def _command(pid: str) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def _parent(pid: str) -> int:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0
    fields = stat[stat.rfind(")") + 2 :].split()
    return 0 if fields[0] == "Z" else int(fields[1])


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"python": 1}', '{"states": [1]}', "nonsense", "[" * 100_000],
)
def test_a_damaged_file_is_no_tracker(tmp_path: Path, text: str) -> None:
    (tmp_path / forwarder.RECORD).write_text(text)
    assert forwarder.load(tmp_path) is None


def test_the_program_runs_on_the_oldest_python_that_is_promised() -> None:
    """By its syntax: no other Python is here."""
    import ast

    source = Path(forwarder.write_points.__file__).read_text()
    ast.parse(source, feature_version=(3, 9))
    imported = {
        node.names[0].name for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Import)
    }
    assert imported - {"wandb"} <= sys.stdlib_module_names
