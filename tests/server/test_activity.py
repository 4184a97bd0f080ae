"""What counts as activity, on a real server with real runs and kernels.

What JupyterHub learns is `web_app.last_activity()`; the culler goes by how old that is.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from jupyterhub_idle_culler import cull_idle
from tornado import web
from tornado.httpclient import AsyncHTTPClient
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets

from server_ext import activity
from server_ext.ddp.handlers import manager_of
from server_ext.reset.again_handlers import again_of
from server_ext.reset.again_report import Report

pytestmark = pytest.mark.timeout(240)

COMMAND = "import sys; from server_ext.ddp.command_line import main; sys.exit(main())"
STAND_IN = Path(__file__).parents[1] / "unit" / "ddp" / "stand_in_agent.py"


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(activity, "EVERY_SECONDS", 0.1)


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A kernel environment's bin, with a Python and the stand-in for torchrun, on the PATH."""
    folder = tmp_path / "environment" / "bin"
    folder.mkdir(parents=True)
    for name, command in (("python", ""), ("torchrun", STAND_IN)):
        (folder / name).write_text(f'#!/bin/sh\nexec {sys.executable} {command} "$@"\n')
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder


@pytest.fixture
def lab(environment: Path, jupyter: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A server with this environment, and a script in its work folder."""
    monkeypatch.setenv("GPUCAMP_WORK", str(jupyter.root))
    jupyter.app.kernel_spec_manager.kernel_dirs = [str(jupyter.data / "kernels")]
    python = str(environment / "python")
    jupyter.add_kernel("python3", [python, "-m", "ipykernel_launcher", "-f", "{connection_file}"])
    (jupyter.root / "train.py").write_text("import torch.distributed as dist\n")
    return jupyter


def idle_for(lab: Any) -> timedelta:
    """How long the culler would take the server to be idle."""
    idle: timedelta = datetime.now(UTC) - lab.app.web_app.last_activity()
    return idle


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(90):
        while not condition():  # noqa: ASYNC110 - what changes it is in other tasks and processes
            await asyncio.sleep(0.05)


async def becomes_idle(lab: Any) -> None:
    """Nothing is noted any more."""
    noted = lab.app.web_app.settings["last_activity_times"]
    await until(lambda: idle_for(lab) > timedelta(seconds=1.5))
    last = noted[activity.NAME]
    await asyncio.sleep(0.5)
    assert noted[activity.NAME] == last


async def test_packages_that_are_installed_again_are_work(lab: Any) -> None:
    work = again_of(lab.app)
    noted = lab.app.web_app.settings["last_activity_times"]
    noted.pop(activity.NAME, None)
    work._report = Report("x", [])
    await until(lambda: activity.NAME in noted)
    work._report = None
    await becomes_idle(lab)


class HubForTheCuller:
    """JupyterHub's API as the idle culler uses it, with one server that reports its activity."""

    def __init__(self, lab: Any) -> None:
        self.culled = False
        hub = self

        class Handler(web.RequestHandler):
            def get(self, path: str) -> None:
                if not path.startswith("users"):
                    self.finish({"version": "6.1.1"})
                    return
                active = lab.app.web_app.last_activity().isoformat()
                server = {
                    "name": "",
                    "ready": True,
                    "pending": None,
                    "url": "/user/ada/",
                    "started": lab.app.web_app.settings["started"].isoformat(),
                    "last_activity": active,
                }
                user = {"name": "ada", "admin": False, "servers": {"": server}}
                user["last_activity"] = active
                self.finish({"items": [user], "_pagination": {"next": None}})

            def delete(self, path: str) -> None:
                assert path == "users/ada/server"
                hub.culled = True
                self.set_status(204)

        self.app = web.Application([(r"/hub/api/(.*)", Handler)])

    async def culls(self, seconds: float) -> bool:
        """Whether jupyterhub-idle-culler stops a server that was idle for so many seconds."""
        self.culled = False
        server = HTTPServer(self.app)
        sockets = bind_sockets(0, "127.0.0.1")
        server.add_sockets(sockets)
        url = f"http://127.0.0.1:{sockets[0].getsockname()[1]}/hub/api"
        try:
            await cull_idle(url, "token", seconds, logging.getLogger("culler"))
        finally:
            AsyncHTTPClient.configure(None)
            server.stop()
            await server.close_all_connections()
        return self.culled


async def test_the_idle_culler_spares_a_run_that_nobody_watches(lab: Any) -> None:
    body = {"script": "train.py", "arguments": ["seconds=60"], "processes": 1}
    run = await lab.json("gpucamp/ddp/runs", method="POST", body=body)
    asked = datetime.now(UTC)
    hub = HubForTheCuller(lab)
    await until(lambda: datetime.now(UTC) - asked > timedelta(seconds=6))
    assert not await hub.culls(5)
    manager = manager_of(lab.app.web_app.settings, lab.app.root_dir)
    await manager.stop(run["id"])
    await manager.wait(run["id"])
    await until(lambda: idle_for(lab) > timedelta(seconds=5))
    assert await hub.culls(5)


async def test_a_server_that_does_nothing_is_idle(lab: Any) -> None:
    await until(lambda: idle_for(lab) > timedelta(seconds=1))
    assert activity.NAME not in lab.app.web_app.settings["last_activity_times"]


async def test_a_run_of_jupyterlab_holds_off_the_culler_until_it_ends(lab: Any) -> None:
    body = {"script": "train.py", "arguments": ["seconds=60"], "processes": 1}
    run = await lab.json("gpucamp/ddp/runs", method="POST", body=body)
    noted = lab.app.web_app.settings["last_activity_times"]
    await until(lambda: activity.NAME in noted)
    first = noted[activity.NAME]
    await until(lambda: noted[activity.NAME] > first)
    await lab.json(f"gpucamp/ddp/runs/{run['id']}/stop", method="POST", body={})
    manager = manager_of(lab.app.web_app.settings, lab.app.root_dir)
    await manager.wait(run["id"])
    await becomes_idle(lab)


async def test_a_run_of_a_terminal_does_so_too(lab: Any, tmp_path: Path) -> None:
    """`gpucamp-ddp`: another process, of which this server knows only the record."""
    with (tmp_path / "said").open("wb") as said:
        command = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", COMMAND, "--processes", "1", "train.py", "seconds=180"),
            cwd=lab.root,
            env={
                **os.environ,
                "PYTHONPATH": str(Path(__file__).parents[2]),
                "JUPYTER_PATH": str(lab.data),  # the kernel with the stand-in for torchrun
            },
            stdout=said,
            stderr=said,
        )
    noted = lab.app.web_app.settings["last_activity_times"]
    runs = lab.root / ".gpucamp" / "runs"

    def has_ended() -> bool:
        return command.returncode is not None

    def goes_on() -> bool:
        return any("rank 0 ready" in log.read_text() for log in runs.glob("*/run.log"))

    try:
        await until(lambda: has_ended() or goes_on())
        first = noted.get(activity.NAME)
        await until(lambda: has_ended() or noted.get(activity.NAME) != first)
        assert not has_ended(), (tmp_path / "said").read_text()
    finally:
        with contextlib.suppress(ProcessLookupError):
            command.terminate()
        await command.wait()
    await becomes_idle(lab)


async def test_a_kernel_that_computes_in_silence(lab: Any) -> None:
    kernel = await lab.json("api/kernels", method="POST", body={"name": "python3"})
    manager = lab.app.kernel_manager
    client = manager.get_kernel(kernel["id"]).client()
    client.start_channels()
    try:
        await client.wait_for_ready(timeout=40)
        client.execute("import time; time.sleep(4)", silent=True)
        await until(lambda: manager.list_kernels()[0]["execution_state"] == "busy")
        noted = lab.app.web_app.settings["last_activity_times"]
        await until(lambda: activity.NAME in noted)
        first = noted[activity.NAME]
        await until(lambda: noted[activity.NAME] > first)
        await until(lambda: manager.list_kernels()[0]["execution_state"] == "idle")
        await becomes_idle(lab)
    finally:
        client.stop_channels()


async def test_a_look_that_fails_is_not_the_last(jupyter: Any) -> None:
    class NoKernels:
        def list_kernels(self) -> list[dict[str, Any]]:
            return []

    looks = 0

    async def runs() -> list[object]:
        nonlocal looks
        looks += 1
        if looks == 1:
            raise OSError("the volume went away")
        return [object()]

    settings: dict[str, Any] = {"last_activity_times": {}}
    activity.start(settings, runs, NoKernels(), jupyter.app.log)
    await until(lambda: activity.NAME in settings["last_activity_times"])
    await activity.stop(settings)
    seen = looks
    await asyncio.sleep(0.4)
    assert looks == seen
