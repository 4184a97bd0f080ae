"""Plans and managers over the stand-in agent; afterwards nothing of a run may be alive."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from server_ext.ddp import process
from server_ext.ddp.launch_plan import Machine, Plan, Script, make_plan
from server_ext.ddp.launch_request import LaunchRequest
from server_ext.ddp.manager import RunManager
from server_ext.ddp.runs import RunStore
from server_ext.ddp.trackers.choice import Tracker

AGENT = (sys.executable, str(Path(__file__).with_name("stand_in_agent.py")))
PlanMaker = Callable[..., Plan]


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore(str(tmp_path / "runs"))


@pytest.fixture
def plan_for(tmp_path: Path, store: RunStore) -> PlanMaker:
    """plan_for("seconds=3", "stubborn", processes=2) -> a plan of the stand-in agent."""

    def make(
        *behaviour: str,
        processes: int = 2,
        launcher: tuple[str, ...] = AGENT,
        goes_to: tuple[Tracker, ...] = (),
        **asked: Any,
    ) -> Plan:
        machine = Machine(
            cpus=2,
            devices=(),
            simulated=False,
            launcher=launcher,
            python=sys.executable,
            runs_folder=str(store.folder),
        )
        script = Script(str(tmp_path / "train.py"), "train.py", str(tmp_path))
        request = LaunchRequest("train.py", behaviour, processes, **asked)
        return make_plan(request, script, machine, store.new_id(), trackers=goes_to)

    return make


@pytest.fixture
async def manager(store: RunStore) -> AsyncIterator[RunManager]:
    manager = RunManager(store, os.environ, agent_patience=0.6)
    yield manager
    for run in await manager.all():
        if run.alive:
            await manager.stop(run.id)
            await manager.wait(run.id)
        left = process.find_processes(run.id, run.members)
        for identity in left:
            process.send_signal(identity, process.signal.SIGKILL)
        assert not left, f"run {run.id} left {left}"
    await manager.close()
