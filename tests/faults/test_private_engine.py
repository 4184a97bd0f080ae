"""The Engine itself is killed: a dockerd of the tests' own, mid-start and while servers run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

import docker
import pytest
import pytest_asyncio
from engine_fault_proxy import EngineFaultProxy
from hub_app import HubApp
from light_image import ensure_light_image
from private_engine import PrivateEngine
from resetting import MAY_RESET, begin_reset, over, reset
from world import at_rest, check, containers, one_holder_ever

from hub_ext.models import LeaseState

pytestmark = [pytest.mark.timeout(300), pytest.mark.fault(5)]

LIVE_RESTORE = {"containers die": False, "containers live": True}
CREATE = r"^POST .*/containers/create"
START = r"^POST .*/containers/[^/]+/start"
STOP = r"^POST .*/containers/[^/]+/stop"
REMOVE = r"^DELETE .*/containers/"


@dataclass
class Place:
    """A killable Engine, a proxy before it, and a hub that uses both."""

    dockerd: PrivateEngine
    live_restore: bool
    faults: EngineFaultProxy
    hub: HubApp
    engine: docker.DockerClient


@pytest.fixture(scope="module", params=LIVE_RESTORE)
def dockerd(request: pytest.FixtureRequest) -> Iterator[tuple[PrivateEngine, bool]]:
    """An Engine that may be killed, and whether its containers live on then."""
    made = PrivateEngine(live_restore=LIVE_RESTORE[request.param])
    try:
        made.start()
        yield made, LIVE_RESTORE[request.param]
    finally:
        made.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def module_place(
    dockerd: tuple[PrivateEngine, bool], proxy: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Place]:
    engine = dockerd[0].client()
    network = engine.networks.create("gctest", driver="bridge")
    network.reload()
    folder = tmp_path_factory.mktemp("private")
    faults = EngineFaultProxy(folder / "engine.sock", str(dockerd[0].socket))
    faults.start()
    hub = HubApp(
        folder=folder,
        image=ensure_light_image(engine),
        proxy=proxy,
        network="gctest",
        gateway=network.attrs["IPAM"]["Config"][0]["Gateway"],
        prefix="gctest",
        docker_host=faults.address,
        engine=engine,
        service=True,
        extra="c.Spawner.poll_interval = 1\n"
        "c.GPUDockerSpawner.stop_patience = 1\n"
        "c.GPUDockerSpawner.ulimits = {}\n" + MAY_RESET,
    )
    try:
        await hub.start()
        yield Place(*dockerd, faults, hub, engine)
    finally:
        hub.close()
        faults.stop()
        engine.close()


@pytest.fixture
async def place(module_place: Place) -> AsyncIterator[Place]:
    """All of it, without a server."""
    yield module_place
    module_place.faults.heal()
    await module_place.hub.stop_all()


@pytest.mark.parametrize("step", [CREATE, START], ids=["create", "start"])
@pytest.mark.parametrize("when", ["before", "after"])
async def test_killed_in_the_middle_of_a_start(place: Place, step: str, when: str) -> None:
    hub = place.hub
    await hub.add_user("ada")
    died = kill_at(place, step, when)
    asked = asyncio.create_task(hub.request_server("ada", {"gpus": 2}))
    await asyncio.wait_for(died.wait(), 60)
    await asyncio.sleep(1)  # the start meets an Engine that is away
    await asyncio.to_thread(place.dockerd.start)
    await asked
    if await at_rest(hub, place.engine, "ada") is None:
        await hub.start_server("ada", 2)
    assert containers(hub, place.engine) == [hub.container("ada")]
    assert (await hub.through_proxy("ada"))[0] == 200
    one_holder_ever(hub)


@pytest.mark.parametrize(
    "step", [STOP, REMOVE, CREATE, START], ids=["stop", "remove", "create", "start"]
)
@pytest.mark.parametrize("when", ["before", "after"])
async def test_killed_in_the_middle_of_a_reset(place: Place, step: str, when: str) -> None:
    """However it ends, the server has the environment that the ledger says, and can be reset."""
    hub = place.hub
    await hub.start_server("ada", 1)
    before = hub.ledger().environment("ada", "").generation
    killed = kill_at(place, step, when)
    operation = await begin_reset(hub, "ada")
    await asyncio.wait_for(killed.wait(), 60)
    await asyncio.sleep(1)  # hub and service meet an Engine that is away
    await asyncio.to_thread(place.dockerd.start)
    ended = await over(hub, operation)
    now = hub.ledger().environment("ada", "").generation
    assert now in (before, before + 1)
    assert ended["step"] == "failed" or now == before + 1, ended
    if await at_rest(hub, place.engine, "ada") is None:
        await hub.start_server("ada", 1)
    assert (await hub.through_proxy("ada"))[0] == 200
    assert generation_in_use(place) == str(now)
    again = await reset(hub, "ada")
    assert again["step"] == "done", again
    assert (await hub.through_proxy("ada"))[0] == 200
    assert generation_in_use(place) == str(hub.ledger().environment("ada", "").generation)
    assert containers(hub, place.engine) == [hub.container("ada")]
    one_holder_ever(hub)


def kill_at(place: Place, step: str, when: str) -> asyncio.Event:
    """Have the Engine killed at a request, before it has an effect or after; set when it was."""
    died = asyncio.Event()
    loop = asyncio.get_running_loop()

    def kill() -> None:
        place.dockerd.kill()
        loop.call_soon_threadsafe(died.set)

    kinds = {"before": "refused", "after": "lost_reply"}
    place.faults.fail(step, kinds[when], times=1, act=kill)
    return died


def generation_in_use(place: Place) -> str:
    """Of the environment that the container was given; its volume has that name."""
    container = place.engine.containers.get(place.hub.container("ada"))
    generation = str(container.labels["gpucamp.generation"])
    volumes = [mount["Name"] for mount in container.attrs["Mounts"] if mount["Type"] == "volume"]
    assert any(name.endswith(f"-env-ada-{generation}") for name in volumes), volumes
    return generation


async def test_killed_while_servers_run(place: Place) -> None:
    """While it is away nobody knows whether they run, so nobody gets their devices."""
    hub = place.hub
    await hub.start_server("ada", 1)
    await hub.start_server("bob", 1)
    before = hub.ledger().leases()
    place.dockerd.kill()
    await hub.request_server("cleo", {"gpus": 1})
    await asyncio.sleep(4)  # several rounds of the hub's polls and the service's reconciling
    assert hub.ledger().leases() == before
    for user in ("ada", "bob"):
        model = await hub.server(user)
        assert model is not None and model["ready"]
    await asyncio.to_thread(place.dockerd.start)
    if place.live_restore:
        await asyncio.sleep(4)
        assert hub.ledger().leases() == before
        assert {lease.state for lease in before} == {LeaseState.RUNNING}
        for user in ("ada", "bob"):
            assert (await hub.through_proxy(user))[0] == 200
        check(hub, place.engine)
        return
    for user in ("ada", "bob", "cleo"):
        assert await at_rest(hub, place.engine, user) is None
    await hub.start_server("ada", 2)
    one_holder_ever(hub)
