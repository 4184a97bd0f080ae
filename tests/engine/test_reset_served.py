"""Broken environments of the corpus through a real hub and its service: the reset is asked for over
REST, of a server that runs, is stopped, or cannot do anything any more.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import docker
import pytest
from ask_kernel import in_kernel
from broken_home import OURS, SYSTEM_PYTHON
from engine_fixtures import MakeHub
from hub_app import HubApp, until
from resetting import MAY_RESET, reset
from test_reset_corpus import CASES, TORCH
from work_tree import MAKE, STATE

pytestmark = pytest.mark.timeout(300)

EXTRA = MAY_RESET + "c.GPUDockerSpawner.pids_limit = 300\n"


class Participant:
    """One user of a hub."""

    def __init__(self, hub: HubApp, engine: docker.DockerClient, name: str) -> None:
        self.hub, self.engine, self.name = hub, engine, name

    def run(self, argv: list[str]) -> str:
        """What a command says in the container."""
        container = self.engine.containers.get(self.hub.container(self.name))
        result = container.exec_run(argv, workdir="/home/jovyan")
        assert result.exit_code == 0, result.output[-3000:]
        return str(result.output.decode(errors="replace"))

    def work(self) -> dict[str, Any]:
        return dict(json.loads(self.run([*SYSTEM_PYTHON, STATE, *OURS])))

    def break_it(self, case: str) -> None:
        self.run(["/bin/bash", "-c", (CASES / f"{case}.sh").read_text()])

    def kernel(self, seconds: float = 60) -> str:
        address = f"{self.hub.url}/user/{self.name}"
        return in_kernel(address, self.hub.token, *TORCH, seconds=seconds)

    async def reset(self) -> str:
        """How it ended."""
        return str((await reset(self.hub, self.name))["step"])


@pytest.fixture(scope="module")
def client() -> Iterator[docker.DockerClient]:
    with closing(docker.from_env(timeout=120)) as client:
        yield client


@pytest.fixture
async def person(make_hub: MakeHub, client: docker.DockerClient) -> Participant:
    hub = make_hub(service=True, extra=EXTRA)
    await hub.start()
    await until(hub.service_answers, 60, hub.log)
    await hub.start_server("ada", 1)
    person = Participant(hub, client, "ada")
    await asyncio.to_thread(person.run, [*SYSTEM_PYTHON, MAKE])
    return person


def generation(person: Participant) -> int:
    return person.hub.ledger().environment("ada", "").generation


async def test_of_a_server_that_runs(person: Participant) -> None:
    person.break_it("torch_stub")
    person.break_it("pth_raises")
    assert (await asyncio.to_thread(person.kernel, 10)).startswith("! ")
    before = person.work()
    lease = person.hub.ledger().lease_of("ada", "")
    assert (await person.reset(), generation(person)) == ("done", 2)
    assert await asyncio.to_thread(person.kernel) == "8.0"
    assert person.work() == before
    after = person.hub.ledger().lease_of("ada", "")
    assert lease is not None and after is not None and lease.device_uuids == after.device_uuids


async def test_of_a_server_that_is_stopped(person: Participant) -> None:
    person.break_it("venv_root")
    before = person.work()
    await person.hub.stop_server("ada")
    assert (await person.reset(), generation(person)) == ("done", 2)
    assert await person.hub.server("ada") is None
    await person.hub.start_server("ada", 1)
    assert await asyncio.to_thread(person.kernel) == "8.0"
    assert person.work() == before


async def test_of_a_server_in_which_no_process_can_be_started(person: Participant) -> None:
    before = person.work()
    person.break_it("bashrc_fork_bomb")
    container = person.engine.containers.get(person.hub.container("ada"))

    def no_process_can_be_started() -> bool:
        """Asked of a shell that has to fork: a process that the Engine moves in may pass the limit.
        The bomb is lit again where it has burnt out.
        """
        try:
            if container.exec_run(["sh", "-c", "/bin/true; exit $?"]).exit_code != 0:
                return True
            container.exec_run(["bash", "-ilc", "true"], detach=True)
        except docker.errors.APIError:
            return True  # the Engine cannot start anything there either
        return False

    async def exhausted() -> bool:
        return await asyncio.to_thread(no_process_can_be_started)

    await until(exhausted, 60)
    assert (await person.reset(), generation(person)) == ("done", 2)
    assert await asyncio.to_thread(person.kernel) == "8.0"
    assert person.work() == before
