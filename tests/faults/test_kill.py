"""Hub and service are killed at every step of a start and a stop; what is left then is whole.

A step is a call to the ledger, or a request to the Engine: killed before it has an effect, and
after it had one that nobody heard of.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import aiohttp
import docker
import pytest
import pytest_asyncio
from engine_fault_proxy import EngineFaultProxy
from engine_fixtures import MakeHub
from hub_app import REPOSITORY, HubApp, until
from kill_points import aim, services_of
from world import at_rest, check, containers, one_holder_ever

pytestmark = pytest.mark.timeout(300)

IMAGE = r"^GET .*/images/.*/json"
CREATE = r"^POST .*/containers/create"
START = r"^POST .*/containers/[^/]+/start"
INSPECT = r"^GET .*/containers/[0-9a-f]{64}/json"
STOP = r"^POST .*/containers/[^/]+/stop"
REMOVE = r"^DELETE .*/containers/"

STARTING = [
    ("enqueue", "before"),
    ("enqueue", "after"),
    ("acquire", "before"),
    pytest.param("acquire", "after", marks=pytest.mark.fault(3)),
    (IMAGE, "before"),
    (IMAGE, "after"),
    pytest.param(CREATE, "before", marks=pytest.mark.fault(3)),
    (CREATE, "after"),
    (START, "before"),
    pytest.param(START, "after", marks=pytest.mark.fault(4)),
    (INSPECT, "after"),
    ("mark_running", "before"),
    pytest.param("mark_running", "after", marks=pytest.mark.fault(4)),
    pytest.param("get_state", "before", marks=pytest.mark.fault(4)),
]
STOPPING = [
    (STOP, "before"),
    (STOP, "after"),
    (REMOVE, "before"),
    (REMOVE, "after"),
    ("end", "before"),
    ("end", "after"),
]
WORDS = {
    IMAGE: "image check",
    CREATE: "create",
    START: "start",
    INSPECT: "inspect",
    STOP: "stop",
    REMOVE: "remove",
}


def words(value: str) -> str:
    return WORDS.get(value, value)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def module_served_hub(make_module_hub: MakeHub, module_faults: EngineFaultProxy) -> HubApp:
    made = make_module_hub(docker_host=module_faults.address, service=True)
    made.extra = (
        f"import sys\nsys.path.insert(0, {str(REPOSITORY / 'tests' / 'fakes')!r})\n"
        "import kill_points\n"
        f"kill_points.arm({str(kill_file(made))!r})\n"
        "c.Spawner.poll_interval = 1\n"
        "c.GPUDockerSpawner.stop_patience = 1\n"
        "c.GPUDockerSpawner.ulimits = {}\n"
    )
    await made.start()
    return made


@pytest.fixture
async def served_hub(module_served_hub: HubApp, faults: EngineFaultProxy) -> AsyncIterator[HubApp]:
    """A hub with gpucamp's service, as `make run` configures them, that can be killed anywhere."""
    hub = module_served_hub
    if hub.process is None or hub.process.poll() is not None:  # the last test failed
        await hub.start()
    yield hub
    faults.heal()
    if hub.process is not None and hub.process.poll() is None:
        await hub.stop_all()


def kill_file(hub: HubApp) -> Path:
    return hub.folder / "kill.json"


def kill(hub: HubApp, victims: tuple[str, ...]) -> None:
    """SIGKILL, from here."""
    assert hub.process is not None
    if "service" in victims:
        for pid in services_of(hub.process.pid):
            os.kill(pid, signal.SIGKILL)
    if "hub" in victims:
        hub.kill()


def kill_at(
    hub: HubApp, faults: EngineFaultProxy, step: str, when: str, victims: tuple[str, ...]
) -> Callable[[], bool]:
    """Let the victims die at this step; returns whether that has happened."""
    if step not in WORDS:
        aim(kill_file(hub), step, when, victims)
        return lambda: not kill_file(hub).exists()
    died: list[bool] = []

    def act() -> None:
        kill(hub, victims)
        died.append(True)

    faults.fail(step, {"before": "refused", "after": "lost_reply"}[when], times=1, act=act)
    return lambda: bool(died)


async def dead_and_back(hub: HubApp, died: Callable[[], bool], asked: asyncio.Task[object]) -> None:
    """Wait for the death, then start hub and service again."""

    async def is_dead() -> bool:
        assert hub.process is not None
        return died() and hub.process.poll() is not None

    await until(is_dead, 60, hub.log)
    with contextlib.suppress(aiohttp.ClientError):
        await asked
    await hub.start()


@pytest.mark.parametrize(("step", "when"), STARTING, ids=words)
async def test_killed_while_a_server_starts(
    served_hub: HubApp,
    faults: EngineFaultProxy,
    engine: docker.DockerClient,
    step: str,
    when: str,
) -> None:
    hub = served_hub
    await hub.add_user("ada")
    died = kill_at(hub, faults, step, when, ("hub", "service"))
    asked = asyncio.create_task(hub.request_server("ada", {"gpus": 2}))
    await dead_and_back(hub, died, asked)
    if await at_rest(hub, engine, "ada") is None:
        await hub.start_server("ada", 2)  # all devices, so none is lost
    check(hub, engine)
    assert containers(hub, engine) == [hub.container("ada")]
    assert (await hub.through_proxy("ada"))[0] == 200
    await until(hub.service_answers, 60, hub.log)
    one_holder_ever(hub)


@pytest.mark.parametrize(("step", "when"), STOPPING, ids=words)
async def test_killed_while_a_server_stops(
    served_hub: HubApp,
    faults: EngineFaultProxy,
    engine: docker.DockerClient,
    step: str,
    when: str,
) -> None:
    hub = served_hub
    await hub.start_server("ada", 2)
    died = kill_at(hub, faults, step, when, ("hub", "service"))
    asked = asyncio.create_task(hub.api("DELETE", "/users/ada/server"))
    await dead_and_back(hub, died, asked)
    if await at_rest(hub, engine, "ada") is not None:  # the stop was not written down
        await hub.stop_server("ada")
        assert await at_rest(hub, engine, "ada") is None
    await hub.start_server("bob", 2)
    check(hub, engine)
    one_holder_ever(hub)


async def test_service_killed_at_every_step_of_a_start_and_a_stop(
    served_hub: HubApp, faults: EngineFaultProxy, engine: docker.DockerClient
) -> None:
    """Spawns need no service: they go on as if nothing had happened."""
    hub = served_hub
    for step, when in (("acquire", "before"), ("acquire", "after"), ("mark_running", "before")):
        await until(hub.service_answers, 60, hub.log)
        died = kill_at(hub, faults, step, when, ("service",))
        await hub.start_server("ada", 2)
        assert died()
        check(hub, engine)
        await hub.stop_server("ada")
    await until(hub.service_answers, 60, hub.log)
    await hub.start_server("ada", 2)
    died = kill_at(hub, faults, "end", "before", ("service",))
    await hub.stop_server("ada")
    assert died()
    assert await at_rest(hub, engine, "ada") is None
    await until(hub.service_answers, 60, hub.log)
    one_holder_ever(hub)
