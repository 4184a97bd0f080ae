"""A reset with a real hub, service and Engine: killed at every step, and asked for at any moment.

Guarantees: the server ends in the old environment or in the new one, whole, on its own devices, and
can be reset again; of several requests one has an effect, the others are refused in words.
(The Engine's own death in a reset is in test_private_engine.py.)
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator

import aiohttp
import docker
import pytest
import pytest_asyncio
from engine_fault_proxy import EngineFaultProxy
from engine_fixtures import MakeHub
from hub_app import HubApp, until
from kill_points import services_of
from resetting import MAY_RESET, begin_reset, over, reset
from world import at_rest, check, containers, one_holder_ever

pytestmark = pytest.mark.timeout(300)

CREATE = r"^POST .*/containers/create"
START = r"^POST .*/containers/[^/]+/start"
STOP = r"^POST .*/containers/[^/]+/stop"
REMOVE = r"^DELETE .*/containers/"
STEPS = {"stop": STOP, "remove": REMOVE, "create": CREATE, "start": START}

MAY_MAKE_GROUPS = (
    'c.JupyterHub.load_roles.append({"name": "grouper", "services": ["tester"],\n'
    '    "scopes": ["admin:groups"]})\n'
)
VISITOR = (
    'c.JupyterHub.load_roles.append({"name": "visitor", "users": ["vera"],\n'
    '    "scopes": ["access:servers!server=ada/"]})\n'
    'c.Authenticator.allowed_users = {"vera", "ada", "bob"}\n'
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def module_served_hub(make_module_hub: MakeHub, module_faults: EngineFaultProxy) -> HubApp:
    made = make_module_hub(docker_host=module_faults.address, service=True)
    made.extra = (
        MAY_RESET + MAY_MAKE_GROUPS + VISITOR + "c.Spawner.poll_interval = 1\n"
        "c.GPUDockerSpawner.stop_patience = 1\n"
        "c.GPUDockerSpawner.ulimits = {}\n"
    )
    await made.start()
    await until(made.service_answers, 120, made.log)
    return made


@pytest.fixture
async def hub(module_served_hub: HubApp, faults: EngineFaultProxy) -> AsyncIterator[HubApp]:
    """A hub with gpucamp's service, as `make run` configures them."""
    hub = module_served_hub
    if hub.process is None or hub.process.poll() is not None:  # the last test failed
        await hub.start()
    await until(hub.service_answers, 120, hub.log)
    yield hub
    faults.heal()
    if hub.process is not None and hub.process.poll() is None:
        await hub.stop_all()


def generation(hub: HubApp) -> int:
    return hub.ledger().environment("ada", "").generation


async def whole(hub: HubApp, engine: docker.DockerClient) -> None:
    """ada's server runs in the environment that the ledger says; nothing is left over."""
    if await at_rest(hub, engine, "ada") is None:
        await hub.start_server("ada", 1)
    assert (await hub.through_proxy("ada"))[0] == 200
    container = engine.containers.get(hub.container("ada"))
    assert container.labels["gpucamp.generation"] == str(generation(hub))
    check(hub, engine)
    one_holder_ever(hub)


# -- killed


@pytest.mark.parametrize(
    ("when", "victims"), [("before", "service"), ("after", "service"), ("after", "hub")]
)
@pytest.mark.parametrize("step", STEPS)
async def test_killed_at_every_step(
    hub: HubApp,
    faults: EngineFaultProxy,
    engine: docker.DockerClient,
    step: str,
    when: str,
    victims: str,
) -> None:
    """At the Engine's requests: before one had an effect, and after one that nobody heard of."""
    await hub.start_server("ada", 1)
    devices = [lease.device_uuids for lease in hub.ledger().leases()]
    before = generation(hub)
    died = asyncio.Event()
    loop = asyncio.get_running_loop()

    def kill() -> None:
        assert hub.process is not None
        for pid in services_of(hub.process.pid):
            os.kill(pid, signal.SIGKILL)
        if victims == "hub":
            hub.kill()
        loop.call_soon_threadsafe(died.set)

    faults.fail(STEPS[step], {"before": "refused", "after": "lost_reply"}[when], times=1, act=kill)
    operation = await begin_reset(hub, "ada")
    await asyncio.wait_for(died.wait(), 60)
    if victims == "hub":
        await hub.start()
    await until(hub.service_answers, 120, hub.log)
    ended = await over(hub, operation)
    assert generation(hub) in (before, before + 1)
    assert ended["step"] == "failed" or generation(hub) == before + 1, ended
    if ended["step"] == "done":
        assert [lease.device_uuids for lease in hub.ledger().leases()] == devices
    await whole(hub, engine)
    now = generation(hub)
    again = await reset(hub, "ada")
    assert (again["step"], generation(hub)) == ("done", now + 1), again
    await whole(hub, engine)


# -- asked for at any moment


async def ask(hub: HubApp, action: str = "reset") -> tuple[int, str]:
    status, body = await hub.ask_service(
        f"users/ada/server/{action}", "POST", {"reason": "it is broken"}
    )
    return status, str(body.get("operation", {}).get("id") or body.get("detail"))


async def test_of_many_at_once_one_has_an_effect(hub: HubApp, engine: docker.DockerClient) -> None:
    await hub.start_server("ada", 1)
    before = generation(hub)
    asked = await asyncio.gather(*(ask(hub) for _ in range(6)), ask(hub, "undo-reset"))
    begun = [said for status, said in asked if status == 202]
    assert len(begun) == 1, asked
    refusals = {said for status, said in asked if status == 409}
    assert refusals <= {
        "A reset of this server is under way. Wait until it is done.",
        "There is no reset to undo.",
    }, asked
    assert len(asked) == len(begun) + sum(status == 409 for status, _said in asked)
    assert (await over(hub, begun[0]))["step"] == "done"
    assert generation(hub) != before  # an undo may have been the one, if there was a reset
    await whole(hub, engine)


async def test_while_the_server_starts(
    hub: HubApp, faults: EngineFaultProxy, engine: docker.DockerClient
) -> None:
    before = generation(hub)
    await hub.add_user("ada")
    starting = asyncio.create_task(hub.request_server("ada", {"gpus": 1}))

    async def pending() -> bool:
        model = await hub.server("ada")
        return model is not None

    await until(pending, 30, hub.log)
    ended = await reset(hub, "ada")
    await starting
    assert (ended["step"], generation(hub)) == ("done", before + 1), ended
    assert containers(hub, engine) == [hub.container("ada")]
    await whole(hub, engine)


async def test_while_the_server_stops(
    hub: HubApp, faults: EngineFaultProxy, engine: docker.DockerClient
) -> None:
    await hub.start_server("ada", 1)
    before = generation(hub)
    stopping = asyncio.create_task(hub.api("DELETE", "/users/ada/server"))
    ended = await reset(hub, "ada")
    await stopping
    assert (ended["step"], generation(hub)) == ("done", before + 1), ended
    await whole(hub, engine)


async def test_while_the_server_waits_in_line(hub: HubApp, engine: docker.DockerClient) -> None:
    """The place in line stays, and what comes at last is the new environment."""
    await hub.start_server("bob", 2)
    before = generation(hub)
    assert (await hub.request_server("ada", {"gpus": 1}))[0] == 202

    async def waits() -> bool:
        return [entry.request.user for entry in hub.ledger().queue()] == ["ada"]

    await until(waits, 30, hub.log)
    operation = await begin_reset(hub, "ada")

    async def switched() -> bool:
        return generation(hub) == before + 1

    await until(switched, 60, hub.log)
    await until(waits, 60, hub.log)
    await hub.stop_server("bob")
    assert (await over(hub, operation))["step"] == "done"
    await whole(hub, engine)


async def test_a_server_that_is_stuck_is_reset(
    hub: HubApp, faults: EngineFaultProxy, engine: docker.DockerClient
) -> None:
    """Its start hangs in the Engine; the reset interrupts it."""
    before = generation(hub)
    faults.fail(START, "silent", times=1)
    await hub.add_user("ada")
    starting = asyncio.create_task(hub.request_server("ada", {"gpus": 1}))

    async def hangs() -> bool:
        return hub.container("ada") in containers(hub, engine)

    await until(hangs, 60, hub.log)
    operation = await begin_reset(hub, "ada")
    await asyncio.sleep(1)
    faults.heal()
    ended = await over(hub, operation)
    await starting
    assert (ended["step"], generation(hub)) == ("done", before + 1), ended
    await whole(hub, engine)


async def test_a_visitor_of_a_shared_server_does_not_reset_it(
    hub: HubApp, engine: docker.DockerClient
) -> None:
    """Whoever a server was shared with may open it; that is all."""
    await hub.start_server("ada", 1)
    before = generation(hub)
    await hub.add_user("vera")
    status, body = await hub.api("POST", "/users/vera/tokens", {"note": "test"})
    assert status == 201, body
    headers = {"Authorization": f"token {body['token']}"}
    async with aiohttp.ClientSession(headers=headers) as session:
        async with session.get(f"{hub.url}/hub/api/user") as answer:
            scopes = (await answer.json())["scopes"]
        assert "access:servers!server=ada/" in scopes, "it is not shared: this proves nothing"
        for action in ("reset", "undo-reset"):
            url = f"{hub.url}/services/gpucamp/api/v1/users/ada/server/{action}"
            async with session.post(url, json={"reason": "for fun"}) as answer:
                assert answer.status == 404, await answer.text()
    assert hub.ledger().unfinished_operations() == ()
    assert generation(hub) == before


# -- a whole class


async def test_a_class_is_reset_though_the_service_is_killed(
    hub: HubApp, engine: docker.DockerClient
) -> None:
    """Nobody is left out, nobody is reset twice; who ran runs again, who did not does not."""
    pupils = ["ada", "bob", *(f"pupil-{n}" for n in range(8))]
    await asyncio.gather(*(hub.add_user(user) for user in pupils))
    status, body = await hub.api("POST", "/groups/class-1", {"users": pupils})
    assert status == 201, body
    await hub.start_server("ada", 1)
    before = {user: hub.ledger().environment(user, "").generation for user in pupils}
    status, told = await hub.ask_service("groups")
    assert {"name": "class-1", "users": 10, "under_way": None} in told["groups"], told
    status, body = await hub.ask_service(
        "groups/class-1/reset", "POST", {"reason": "the exam begins"}
    )
    assert status == 202, body

    async def begun() -> bool:
        return hub.ledger().operation_of("ada", "") is not None

    await until(begun, 30, hub.log)
    assert hub.process is not None
    for pid in services_of(hub.process.pid):
        os.kill(pid, signal.SIGKILL)
    await until(hub.service_answers, 120, hub.log)

    async def over() -> bool:
        _status, told = await hub.ask_service("groups/class-1/reset")
        return bool(not told["reset"]["under_way"])

    await until(over, 180, hub.log)
    _status, told = await hub.ask_service("groups/class-1/reset")
    assert told["reset"]["counts"]["done"] == 10, told
    after = {user: hub.ledger().environment(user, "").generation for user in pupils}
    assert after == {user: number + 1 for user, number in before.items()}
    assert containers(hub, engine) == [hub.container("ada")]
    await whole(hub, engine)
