"""Images that are pulled by REST: real hub, service and Engine, and a registry that stands in."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import docker
import docker.errors
import light_image
import pytest
from engine_fixtures import MakeHub
from hub_app import HubApp, until
from kill_points import services_of
from stand_in_registry import NAME, StandInRegistry, padding

pytestmark = pytest.mark.timeout(300)

PADDING = 6_000_000  # bytes that no Engine has, so each test's image is pulled

MAY_MANAGE = """
c.GPUDockerSpawner.ulimits = {{}}
c.GpucampService.image_repositories = ["{repository}"]
c.JupyterHub.load_roles.append({{"name": "manager", "services": ["tester"], "scopes": [
    "custom:gpucamp:images:read", "custom:gpucamp:images:manage"]}})
"""


@pytest.fixture
def registry(engine: docker.DockerClient) -> Iterator[StandInRegistry]:
    """It has an image that is not on this host; none is left after the test."""
    layers = [light_image.archive(), padding(PADDING)]
    with StandInRegistry(layers, light_image.CONFIG) as made:
        yield made
        with contextlib.suppress(docker.errors.ImageNotFound):
            engine.images.remove(made.image, force=True)


@pytest.fixture
def unfit(registry: StandInRegistry) -> StandInRegistry:
    """The same image, but without the label."""
    registry.configure({**light_image.CONFIG, "Labels": {}})
    return registry


@pytest.fixture
async def hub(registry: StandInRegistry, make_hub: MakeHub, engine: docker.DockerClient) -> HubApp:
    """Closed, with its containers, before the image is removed."""
    usual = light_image.ensure_light_image(engine)
    allowed = f"127.0.0.1:{registry.port}/{NAME}"
    made = make_hub(service=True, image=usual, extra=MAY_MANAGE.format(repository=allowed))
    await made.start()
    await until(made.service_answers, 60, made.log)
    return made


async def ask(hub: HubApp, method: str, path: str, body: object = None, status: int = 200) -> Any:
    found, answer = await hub.ask_service(path, method, body)
    assert found == status, (found, answer)
    return answer


def address(registry: StandInRegistry, *verbs: str) -> str:
    return "/".join(("images", quote(registry.image, safe=""), *verbs))


async def pull(hub: HubApp, registry: StandInRegistry) -> dict[str, Any]:
    return dict((await ask(hub, "GET", address(registry, "pull")))["pull"])


async def begin(hub: HubApp, registry: StandInRegistry) -> None:
    await ask(hub, "POST", address(registry, "pull"), {"reason": "for Monday"}, status=202)


async def half_way(hub: HubApp, registry: StandInRegistry) -> None:
    async def some() -> bool:
        found = await pull(hub, registry)
        assert found["state"] == "running", found
        progress = found["progress"]
        return progress is not None and 1_000_000 < progress["bytes_done"] < PADDING

    await until(some, 60, hub.log)


async def ended(hub: HubApp, registry: StandInRegistry) -> dict[str, Any]:
    async def over() -> bool:
        return bool((await pull(hub, registry))["state"] != "running")

    await until(over, 60, hub.log)
    return await pull(hub, registry)


def has_image(engine: docker.DockerClient, registry: StandInRegistry) -> bool:
    try:
        return registry.image in engine.images.get(registry.image).attrs["RepoDigests"]
    except docker.errors.ImageNotFound:
        return False


async def test_an_image_is_pulled_with_progress_then_pinned_and_run(
    hub: HubApp, registry: StandInRegistry, engine: docker.DockerClient
) -> None:
    with registry.held():
        await begin(hub, registry)
        await half_way(hub, registry)
        await begin(hub, registry)  # tells of the same one
        absent = await ask(hub, "GET", address(registry))
        assert not absent["image"]["present"]
    assert (await ended(hub, registry))["state"] == "done"
    assert set(registry.served.values()) == {1}, "each part came over the network once"
    pinned = await ask(hub, "POST", address(registry, "pin"), {"reason": "a mended torch"})
    assert pinned["image"]["in_force"] and pinned["image"]["present"]
    with registry.away():
        await hub.start_server("ada", 1)
        container = engine.containers.get(hub.container("ada"))
        assert container.attrs["Config"]["Image"] == registry.image

        async def told() -> bool:
            found = (await ask(hub, "GET", address(registry)))["image"]
            return bool(found["servers"] == [{"user": "ada", "server": ""}])

        await until(told, 60, hub.log)
        await hub.stop_all()


async def test_an_image_of_the_repository_that_is_not_for_servers_is_found_out_and_refused(
    hub: HubApp, unfit: StandInRegistry, engine: docker.DockerClient
) -> None:
    await begin(hub, unfit)
    assert (await ended(hub, unfit))["state"] == "done"
    found = (await ask(hub, "GET", address(unfit)))["image"]
    assert (found["present"], found["for_servers"]) == (True, False)
    refused = await ask(hub, "POST", address(unfit, "pin"), {"reason": "why not"}, status=422)
    assert refused["type"].endswith("#image-unfit")
    await hub.start_server("ada", 1)
    assert engine.containers.get(hub.container("ada")).attrs["Image"] == hub.image


async def test_a_pull_that_is_cancelled_is_given_up_by_the_engine(
    hub: HubApp, registry: StandInRegistry, engine: docker.DockerClient
) -> None:
    with registry.held():
        await begin(hub, registry)
        await half_way(hub, registry)
        answer = await ask(hub, "POST", address(registry, "pull", "cancel"))
        assert answer["pull"]["state"] == "cancelled"
    # what the registry has to give now, nobody takes
    await asyncio.sleep(3)
    assert not has_image(engine, registry)
    await begin(hub, registry)
    assert (await ended(hub, registry))["state"] == "done"
    assert has_image(engine, registry)


async def test_a_pull_outlives_who_asked_for_it_but_not_the_service_which_says_so(
    hub: HubApp, registry: StandInRegistry, engine: docker.DockerClient
) -> None:
    with registry.held():
        await begin(hub, registry)
        await half_way(hub, registry)
        assert hub.process is not None
        (service,) = services_of(hub.process.pid)
        os.kill(service, signal.SIGKILL)

        async def again() -> bool:
            return await hub.service_answers() and services_of(hub.process.pid) != [service]

        await until(again, 60, hub.log)
        assert (await pull(hub, registry))["state"] == "cut_off"
    await begin(hub, registry)
    assert (await ended(hub, registry))["state"] == "done"
    assert has_image(engine, registry)


async def test_a_pull_that_fails_says_why(
    hub: HubApp, registry: StandInRegistry, engine: docker.DockerClient
) -> None:
    with registry.away():
        await begin(hub, registry)
        found = await ended(hub, registry)
    assert found["state"] == "failed" and "connection refused" in found["error"]
    registry.unknown = True
    await begin(hub, registry)
    found = await ended(hub, registry)
    assert found["state"] == "failed" and registry.digest in found["error"]
    registry.unknown, registry.altered = False, True
    await begin(hub, registry)
    found = await ended(hub, registry)
    assert found["state"] == "failed" and "verification failed" in found["error"]
    assert not has_image(engine, registry)
    registry.altered = False
    await begin(hub, registry)
    assert (await ended(hub, registry))["state"] == "done"
