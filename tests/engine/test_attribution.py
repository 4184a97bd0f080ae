"""Whose container a process is in: real containers of a real Engine, by this host's /proc."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import docker
import pytest
from docker.models.containers import Container

from hub_ext.inventory.attribution import Holder, Holding, holdings
from hub_ext.inventory.discovery import PracticeInventory
from hub_ext.inventory.practice_state import PracticeState
from hub_ext.models import DeviceProcess

ADA, BOB = ("ada", ""), ("bob", "")


@pytest.fixture
def run(engine: docker.DockerClient, image: str) -> Iterator[Callable[[], Container]]:
    """Starts a container that waits."""
    made: list[Container] = []

    def start() -> Container:
        made.append(
            engine.containers.run(
                image,
                ["sleep", "300"],
                name=f"gpucamp-test-attribution-{secrets.token_hex(5)}",
                entrypoint="",
                detach=True,
                init=False,
                network_mode="none",
            )
        )
        made[-1].reload()
        return made[-1]

    yield start
    for container in made:
        container.remove(force=True)


def processes_of(container: Container) -> list[int]:
    """The PIDs on this host, the oldest first."""
    titles, rows = (container.top(ps_args="-eo pid,args")[name] for name in ("Titles", "Processes"))
    return sorted(int(row[titles.index("PID")]) for row in rows)


def holders_of(folder: Path, pids: list[int]) -> tuple[DeviceProcess, ...]:
    """What an inventory tells of a practice device whose memory they are said to hold."""
    (uuid,) = (device.uuid for device in PracticeInventory(1).scan())
    file = folder / "state.json"
    running = [{"pid": pid, "memory": 2**30} for pid in pids]
    file.write_text(json.dumps({uuid: {"processes": running}}))
    (device,) = PracticeInventory(1, PracticeState(file)).scan()
    assert device.detail is not None and device.detail.processes is not None
    return device.detail.processes


def test_processes_are_found_in_their_containers(run, tmp_path: Path) -> None:
    mine, theirs = run(), run()
    mine.exec_run(["sleep", "300"], detach=True)
    own = processes_of(mine)
    assert len(own) == 2
    found = holders_of(tmp_path, [*own, *processes_of(theirs)])
    assert [each.containers for each in found] == [(mine.id,), (mine.id,), (theirs.id,)]
    servers = {mine.id: ADA, theirs.id: BOB}
    first, second, other = holdings(found, servers, ADA)
    assert first == Holding(Holder.OWN, 1, 2**30, 1), "what a container runs is its process 1"
    assert second.holder is Holder.OWN
    status = mine.exec_run(["cat", f"/proc/{second.pid}/cmdline"])
    assert status.output == b"sleep\x00300\x00", "the number is that of the container"
    assert other == Holding(Holder.ANOTHER_USER, 1, 2**30)


def test_a_container_that_is_gone_leaves_nothing_known(run, tmp_path: Path) -> None:
    container = run()
    (pid,) = processes_of(container)
    container.kill()
    container.wait()
    (found,) = holders_of(tmp_path, [pid])
    assert found == DeviceProcess(pid, 2**30)
