"""What the host knows of device nodes, toolkit and daemon, read from folders that stand in."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from hub_ext import host_facts
from hub_ext.engine import ContainerState, Presence
from hub_ext.host_facts import HostLook, HostState, Nodes, compared

MINE, OTHERS = "a" * 64, "b" * 64
HOST = ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm", "nvidia-uvm-tools", "nvidia-modeset")


@pytest.mark.parametrize(
    ("present", "cards", "missing"),
    [
        (("nvidia0", "nvidiactl", "nvidia-uvm"), 1, ()),
        (("nvidia1", "nvidiactl", "nvidia-uvm"), 1, ()),
        (("nvidiactl", "nvidia-uvm"), 1, ("nvidia*",)),
        (("nvidia0", "nvidiactl", "nvidia-uvm"), 2, ("nvidia*",)),
        (("nvidia0", "nvidia-uvm"), 1, ("nvidiactl",)),
        (("nvidia0", "nvidiactl", "nvidia-caps"), 1, ("nvidia-uvm",)),
        ((), 1, ("nvidiactl", "nvidia-uvm", "nvidia*")),
        ((), 0, ()),
    ],
)
def test_what_is_missing(present, cards, missing):
    assert compared(present, HOST, cards).missing == missing


def test_what_the_host_has_not_itself_is_not_missing_in_a_container():
    """Its GC102 and GC105 say so; here the host is compared with the container."""
    assert compared((), (), 1).missing == ()
    assert compared(("nvidia0", "nvidiactl"), ("nvidia0", "nvidiactl"), 3).missing == ()


class OneContainer:
    """An Engine with a container of this state."""

    def __init__(self, state: ContainerState, seconds: float = 0) -> None:
        self.told, self.seconds = state, seconds

    async def state(self, _container: str) -> ContainerState:
        await asyncio.sleep(self.seconds)
        return self.told


RUNS = ContainerState(Presence.RUNNING, id=MINE, pid=4711)


def world(root: Path, container: str = MINE) -> Path:
    """A host with a card, and a process in a container that lost a node."""
    for folder, names in (
        (root / "dev", (*HOST, "null")),
        (root / "proc/4711/root/dev", ("nvidia0", "nvidiactl", "null")),
    ):
        folder.mkdir(parents=True)
        for name in names:
            (folder / name).touch()
    group = f"0::/system.slice/docker-{container}.scope\n"
    (root / "proc/4711/cgroup").write_text(group)
    return root


async def test_a_container_that_lost_a_node(tmp_path):
    look = HostLook(OneContainer(RUNS), world(tmp_path))
    assert await look.nodes(MINE, 1) == Nodes(("nvidia0", "nvidiactl"), ("nvidia-uvm",))


async def test_a_number_that_is_another_process_by_now_says_nothing(tmp_path):
    assert await HostLook(OneContainer(RUNS), world(tmp_path, OTHERS)).nodes(MINE, 1) is None


@pytest.mark.parametrize(
    "engine",
    [
        OneContainer(ContainerState(Presence.GONE)),
        OneContainer(ContainerState(Presence.UNKNOWN, error="away")),
        OneContainer(ContainerState(Presence.STOPPED, id=MINE)),
        OneContainer(ContainerState(Presence.RUNNING, id=MINE)),
        OneContainer(RUNS, seconds=30),
    ],
)
async def test_what_cannot_be_told_is_none(tmp_path, monkeypatch, engine):
    monkeypatch.setattr(host_facts, "ENGINE_SECONDS", 0.1)
    assert await HostLook(engine, world(tmp_path)).nodes(MINE, 1) is None


async def test_a_process_that_is_gone_is_none(tmp_path):
    assert await HostLook(OneContainer(RUNS), tmp_path).nodes(MINE, 1) is None


def tool(folder: Path, name: str, script: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\necho called >> {folder}/calls\n{script}\n")
    (folder / name).chmod(0o755)


CTK = "echo 'NVIDIA Container Toolkit CLI version 1.17.8'; echo 'commit: f202b80'"
CLI = "echo 'cli-version: 1.17.4'; echo 'lib-version: 1.17.4'"


@pytest.mark.parametrize(
    ("tools", "version"),
    [
        ({"nvidia-ctk": CTK}, "1.17.8"),
        ({"nvidia-container-cli": CLI}, "1.17.4"),
        ({"nvidia-ctk": CTK, "nvidia-container-cli": CLI}, "1.17.8"),
        ({"nvidia-ctk": "exit 1", "nvidia-container-cli": CLI}, "1.17.4"),
        ({"nvidia-ctk": "sleep 60", "nvidia-container-cli": CLI}, "1.17.4"),
        ({"nvidia-ctk": "exec yes"}, None),
        ({"nvidia-ctk": "echo version of nothing"}, None),
        ({}, None),
    ],
)
async def test_the_toolkits_version_is_asked_once(tmp_path, monkeypatch, tools, version):
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, script in tools.items():
        tool(programs, name, script)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    look = HostLook(OneContainer(RUNS), tmp_path)
    first, second = await asyncio.gather(look.state(), look.state())
    assert first is second
    assert first == HostState(version, None)
    calls = programs / "calls"
    count = len(calls.read_text().splitlines()) if calls.exists() else 0
    assert count <= len(tools)


async def test_a_tool_that_floods_its_pipe_is_let_go(tmp_path, monkeypatch):
    programs = tmp_path / "bin"
    tool(programs, "nvidia-ctk", "exec yes")
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    read = asyncio.StreamReader.read

    async def late(self, count=-1):  # so that the pipe is full, and is not read on
        await asyncio.sleep(0.3)
        return await read(self, count)

    monkeypatch.setattr(asyncio.StreamReader, "read", late)
    async with asyncio.timeout(20):
        assert (await HostLook(OneContainer(RUNS), tmp_path).state()).toolkit_version is None


@pytest.mark.parametrize("runs", [True, False])
async def test_the_daemon_is_there_by_its_socket_where_there_is_a_driver(tmp_path, runs):
    (tmp_path / "proc/driver/nvidia").mkdir(parents=True)
    if runs:
        (tmp_path / "run/nvidia-persistenced").mkdir(parents=True)
        (tmp_path / "run/nvidia-persistenced/socket").touch()
    assert (await HostLook(OneContainer(RUNS), tmp_path).state()).persistenced is runs
