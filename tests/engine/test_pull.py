"""An image named by its digest that is not on this host: pulled once, with progress, or an error.

The registry is a stand-in on this host (tests/fakes/stand_in_registry.py); hub and Engine are real.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import Any

import docker
import docker.errors
import light_image
import pytest
from engine_fixtures import MakeHub
from hub_app import HubApp, until
from stand_in_registry import StandInRegistry, padding

pytestmark = pytest.mark.timeout(300)

PADDING = 6_000_000  # bytes that no Engine has, so each test's image is pulled


@pytest.fixture
def registry(engine: docker.DockerClient) -> Iterator[StandInRegistry]:
    """It has an image that is not on this host; none is left after the test."""
    with StandInRegistry([light_image.archive(), padding(PADDING)], light_image.CONFIG) as made:
        yield made
        with contextlib.suppress(docker.errors.ImageNotFound):
            engine.images.remove(made.image, force=True)


@pytest.fixture
async def hub(registry: StandInRegistry, make_hub: MakeHub) -> HubApp:
    """Closed, with its containers, before the image is removed."""
    made = make_hub(image=registry.image, extra="c.GPUDockerSpawner.ulimits = {}\n")
    await made.start()
    return made


def has_image(engine: docker.DockerClient, image: str) -> bool:
    try:
        return image in engine.images.get(image).attrs["RepoDigests"]
    except docker.errors.ImageNotFound:
        return False


def nothing_left(hub: HubApp, engine: docker.DockerClient) -> None:
    assert hub.ledger().leases() == ()
    assert hub.ledger().queue() == ()
    assert engine.containers.list(all=True, filters={"name": hub.prefix}) == []


def half_way(event: dict[str, Any]) -> object:
    """Some of the larger layer has come; the smaller one may be there from an earlier pull."""
    return re.match(r"Downloading the image: [23] of [67] MB, \d of 2 parts", event["message"])


async def ask(hub: HubApp, user: str) -> None:
    status, body = await hub.request_server(user, {"gpus": 1})
    assert status in (201, 202), (status, body)


async def failure_of(hub: HubApp, user: str) -> str:
    """What the participant is told when the start fails, as it must."""
    status, body = await hub.request_server(user, {"gpus": 1})
    if status < 300:
        body = await hub.failure(user)

    async def over() -> bool:
        return await hub.server(user) is None

    await until(over, 30, hub.log)
    return str(body["message"])


async def test_a_missing_image_is_pulled_once_with_progress_and_then_needs_no_registry(
    hub: HubApp, registry: StandInRegistry, engine: docker.DockerClient
) -> None:
    assert not has_image(engine, registry.image)
    with registry.held():
        await ask(hub, "ada")
        async with hub.progress("ada") as progress:
            await progress.until(half_way)
        await ask(hub, "bob")  # joins it
        async with hub.progress("bob") as progress:
            await progress.until(lambda event: "Looking for what is free" in event["message"])
        assert hub.ledger().leases() == (), "no device is kept from others meanwhile"
    for user in ("ada", "bob"):
        await hub.wait_ready(user)
    assert has_image(engine, registry.image)
    assert set(registry.served.values()) == {1}, "each part came over the network once"
    containers = [engine.containers.get(hub.container(user)) for user in ("ada", "bob")]
    assert {each.attrs["Config"]["Image"] for each in containers} == {registry.image}
    with registry.away():
        await hub.stop_server("ada")
        await hub.start_server("ada", 1)
    await hub.stop_all()
    nothing_left(hub, engine)


async def test_a_pull_that_fails_is_told_and_the_next_start_tries_again(
    hub: HubApp, registry: StandInRegistry, engine: docker.DockerClient
) -> None:
    with registry.away():
        message = await failure_of(hub, "ada")
    assert "could not be started" in message and "connection refused" in message
    nothing_left(hub, engine)
    registry.unknown = True
    message = await failure_of(hub, "ada")
    assert "image for your server is missing" in message and registry.digest in message
    nothing_left(hub, engine)
    registry.unknown, registry.altered = False, True
    message = await failure_of(hub, "ada")
    assert "could not be started" in message and "verification failed" in message
    nothing_left(hub, engine)
    assert not has_image(engine, registry.image)
    registry.altered = False
    await hub.start_server("ada", 1)
    assert has_image(engine, registry.image)


async def test_a_start_that_is_cancelled_leaves_the_pull_to_the_next(
    hub: HubApp, registry: StandInRegistry, engine: docker.DockerClient
) -> None:
    with registry.held():
        await ask(hub, "ada")
        async with hub.progress("ada") as progress:
            await progress.until(half_way)
        await hub.stop_server("ada")
        nothing_left(hub, engine)
        assert not has_image(engine, registry.image)
    await hub.start_server("ada", 1)
    assert set(registry.served.values()) == {1}
    assert has_image(engine, registry.image)
