"""Which image new servers get, chosen by REST: with a real hub, its service and the Engine."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import docker
import light_image
import pytest
from engine_fixtures import MakeHub
from hub_app import HubApp, until

pytestmark = pytest.mark.timeout(300)

MAY_MANAGE = """
c.GPUDockerSpawner.ulimits = {}
c.JupyterHub.load_roles.append({"name": "manager", "services": ["tester"], "scopes": [
    "custom:gpucamp:images:read", "custom:gpucamp:images:manage",
    "custom:gpucamp:environment:read"]})
"""


@pytest.fixture
def usual(engine: docker.DockerClient) -> str:
    return light_image.ensure_light_image(engine)


@pytest.fixture
def other(engine: docker.DockerClient) -> Iterator[str]:
    """Another image for servers, by its id."""
    name = f"gpucamp-test/other:{secrets.token_hex(4)}"
    repository, _, tag = name.partition(":")
    engine.api.import_image_from_data(
        light_image.archive(),
        repository,
        tag,
        changes=[
            'CMD ["/bin/serve"]',
            f"ENV PATH=/bin HOME=/home/jovyan OTHER={tag}",
            "USER 1000:100",
            "WORKDIR /tmp",
            "LABEL gpucamp.image=light-test",
        ],
    )
    yield str(engine.images.get(name).id)
    engine.images.remove(name, force=True)


@pytest.fixture
async def hub(usual: str, other: str, make_hub: MakeHub) -> HubApp:
    """Closed, with its containers, before the other image is removed."""
    made = make_hub(service=True, image=usual, extra=MAY_MANAGE)
    await made.start()
    await until(made.service_answers, 60, made.log)
    return made


async def ask(hub: HubApp, method: str, path: str, body: object = None) -> Any:
    status, answer = await hub.ask_service(path, method, body)
    assert status == 200, (status, answer)
    return answer


async def image(hub: HubApp, name: str) -> dict[str, Any]:
    found = await ask(hub, "GET", f"images/{quote(name, safe='')}")
    return dict(found["image"])


def runs(hub: HubApp, engine: docker.DockerClient, user: str) -> str:
    return str(engine.containers.get(hub.container(user)).attrs["Image"])


async def test_new_servers_get_what_is_pinned_and_those_that_run_keep_theirs(
    hub: HubApp, engine: docker.DockerClient, usual: str, other: str
) -> None:
    await hub.start_server("ada", 1)
    listed = {each["image"]: each for each in (await ask(hub, "GET", "images"))["images"]}
    assert listed[usual]["in_force"] and listed[usual]["configured"]
    assert listed[other]["present"] and not listed[other]["in_force"]
    why = {"reason": "a mended torch"}
    pinned = await ask(hub, "POST", f"images/{quote(other)}/pin", why)
    assert pinned["image"]["in_force"]
    await hub.start_server("bob", 1)
    assert (runs(hub, engine, "ada"), runs(hub, engine, "bob")) == (usual, other)

    async def told() -> bool:
        of_usual, of_other = await image(hub, usual), await image(hub, other)
        return (of_usual["servers"], of_other["servers"]) == (
            [{"user": "ada", "server": ""}],
            [{"user": "bob", "server": ""}],
        )

    await until(told, 60, hub.log)
    # over a restart of hub and service, until it is taken away
    hub.stop()
    await hub.start()
    await until(hub.service_answers, 60, hub.log)
    assert (await image(hub, other))["in_force"]
    await hub.stop_server("ada")
    await hub.start_server("ada", 1)
    assert runs(hub, engine, "ada") == other
    await ask(hub, "POST", f"images/{quote(other)}/unpin", {"reason": "it was not better"})
    await hub.stop_server("bob")
    await hub.start_server("bob", 1)
    assert (runs(hub, engine, "ada"), runs(hub, engine, "bob")) == (other, usual)


async def test_an_image_that_is_not_for_servers_or_named_by_a_tag_is_refused(hub: HubApp) -> None:
    why = {"reason": "why not"}
    for name, status in ((f"sha256:{'0' * 64}", 404), ("gpucamp-test/light:1", 400)):
        found, answer = await hub.ask_service(f"images/{quote(name, safe='')}/pin", "POST", why)
        assert found == status, answer
    assert hub.ledger().image_for(hub.image) == hub.image
