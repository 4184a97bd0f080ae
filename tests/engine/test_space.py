"""What volumes take, asked of the real Engine; and one that cannot limit them."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import docker
import pytest

from hub_ext.container_args import HUB_LABEL
from hub_ext.engine import EngineClient
from hub_ext.errors import EngineRefused
from hub_ext.failures import spawn_failure
from hub_ext.service.containers import HubContainers
from hub_ext.space import VolumeFact, by_user

MIB = 2**20


@pytest.fixture
def hub_id(engine: docker.DockerClient) -> Iterator[str]:
    """Of a hub that has volumes only; none of them is left."""
    made = f"test-{secrets.token_hex(6)}"
    try:
        yield made
    finally:
        for name in (made, f"{made}-other"):
            for volume in engine.volumes.list(filters={"label": f"{HUB_LABEL}={name}"}):
                volume.remove(force=True)


def make(
    engine: docker.DockerClient, image: str, hub_id: str, mebibytes: int, **labels: str
) -> None:
    """A volume with these labels, and so much in it."""
    name = f"gpucamp-test-{secrets.token_hex(6)}"
    given = {HUB_LABEL: hub_id, **{f"gpucamp.{key}": value for key, value in labels.items()}}
    engine.volumes.create(name, labels=given)
    write = f"head -c {mebibytes * MIB} /dev/urandom > /v/x"
    mount = {name: {"bind": "/v"}}
    options = {"user": "0", "remove": True, "volumes": mount, "entrypoint": ["sh", "-c", write]}
    engine.containers.run(image, **options)


async def test_each_volume_has_its_size_and_its_user(
    engine: docker.DockerClient, image: str, hub_id: str
) -> None:
    make(engine, image, hub_id, 20, user="ada", volume="work")
    make(engine, image, hub_id, 3, user="ada", volume="environment", server="", generation="2")
    make(engine, image, hub_id, 5, user="bob", volume="environment", server="b", generation="1")
    make(engine, image, hub_id, 1, user="bob")  # what is not ours to count
    make(engine, image, hub_id + "-other", 1, user="ada", volume="work")
    client = EngineClient()
    found = await HubContainers(client, lambda: hub_id).volumes()
    await client.close()
    assert sorted((each.user, each.environment or ()) for each in found) == [
        ("ada", ()),
        ("ada", ("", 2)),
        ("bob", ("b", 1)),
    ]
    spaces = by_user(found)
    assert 20 * MIB <= spaces["ada"].work < 21 * MIB
    assert 3 * MIB <= spaces["ada"].environments_bytes < 4 * MIB
    assert 5 * MIB <= spaces["bob"].environments_bytes < 6 * MIB and spaces["bob"].work == 0
    assert all(isinstance(each, VolumeFact) for each in found)


async def test_an_engine_that_cannot_limit_volumes_says_so(
    engine: docker.DockerClient, image: str, hub_id: str
) -> None:
    """This host's Engine keeps its data where there are no project quotas."""
    client = EngineClient()
    name = f"gpucamp-test-{secrets.token_hex(6)}"
    options = {
        "Labels": {HUB_LABEL: hub_id},
        "DriverConfig": {"Name": "local", "Options": {"size": str(100 * MIB)}},
    }
    mount = {"Type": "volume", "Source": name, "Target": "/v", "VolumeOptions": options}
    with pytest.raises(EngineRefused) as refused:
        await client.create(name, {"Image": image, "HostConfig": {"Mounts": [mount]}})
    await client.close()
    told = spawn_failure(refused.value)
    assert told.reason == "volumes-without-limit"
    assert "limit_volumes" in told.jupyterhub_message and "XFS" in told.jupyterhub_message
