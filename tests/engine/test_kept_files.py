"""Files of an environment that was left, read through the real Engine in the real image."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import docker
import docker.errors
import pytest
from resets import reset
from service_world import make_ledger, now

from hub_ext.container_args import KEPT, READER_LABEL
from hub_ext.engine import EngineClient
from hub_ext.engine_exec import EngineExec
from hub_ext.errors import Conflict, NotFound
from hub_ext.ledger import Ledger
from hub_ext.service.containers import HubContainers
from hub_ext.service.kept_files import KeptFiles
from hub_ext.volumes import environment_volume

pytestmark = pytest.mark.timeout(180)

FILL = """
cd /home/jovyan
mkdir -p closed deep/er
head -c 50000000 /dev/urandom > big
: > empty
echo hidden > closed/x
chmod 000 closed
ln -s /etc/passwd link
mkfifo fifo
sha256sum big
"""


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    made = make_ledger(tmp_path)
    reset(made, "ada", "", now())
    yield made
    made.close()


@pytest.fixture
def prefix(engine: docker.DockerClient) -> Iterator[str]:
    """Of volumes and containers that are gone afterwards."""
    made = f"gctest{secrets.token_hex(4)}"
    yield made
    for container in engine.containers.list(all=True, filters={"name": made}, ignore_removed=True):
        with suppress(docker.errors.APIError):
            container.remove(force=True)
    with suppress(docker.errors.NotFound):
        engine.volumes.get(environment_volume("ada", "", 1, prefix=made)).remove(force=True)


def readers(engine: docker.DockerClient, prefix: str) -> list[docker.models.containers.Container]:
    mine = {"label": f"{READER_LABEL}={prefix}"}
    # one may be removed while it is looked at
    return list(engine.containers.list(all=True, filters=mine, ignore_removed=True))


def fill(engine: docker.DockerClient, image: str, prefix: str) -> str:
    """The environment that was left, as its server wrote it; the hash of its large file."""
    volume = environment_volume("ada", "", 1, prefix=prefix)
    out = engine.containers.run(
        image,
        entrypoint=["sh", "-c", FILL],
        user="1000:100",
        remove=True,
        network_mode="none",
        volumes={volume: {"bind": "/home/jovyan"}},
    )
    return str(out.decode().split()[0])


async def test_files_of_a_kept_environment(
    engine: docker.DockerClient, image: str, ledger: Ledger, prefix: str
) -> None:
    client = EngineClient()
    containers = HubContainers(client, lambda: prefix, prefix)
    files = KeptFiles(ledger, containers, EngineExec(), image)
    with pytest.raises(NotFound, match="gone"):
        await files.entries("ada", "", 1, "")
    names = {volume.name for volume in engine.volumes.list()}
    assert environment_volume("ada", "", 1, prefix=prefix) not in names, "looking makes none"

    digest = fill(engine, image, prefix)
    found = {each["name"]: each for each in (await files.entries("ada", "", 1, ""))["entries"]}
    assert {".venv", "big", "closed", "deep", "empty", "fifo", "link"} <= set(found)
    assert (found["big"]["kind"], found["big"]["bytes"]) == ("file", 50_000_000)
    assert (found["link"]["kind"], found["fifo"]["kind"]) == ("link", "other")
    assert [each["name"] for each in (await files.entries("ada", "", 1, "deep"))["entries"]] == [
        "er"
    ]
    with pytest.raises(Conflict, match="may not be read"):
        await files.entries("ada", "", 1, "closed")
    with pytest.raises(Conflict, match="may not be read"):
        async with files.file("ada", "", 1, "closed/x"):
            pass
    for path in ("link", "fifo", "deep", "nothing", "../etc/passwd"):
        with pytest.raises(NotFound):
            async with files.file("ada", "", 1, path):
                pass

    hashed = hashlib.sha256()
    async with files.file("ada", "", 1, "big") as opened:
        (reader,) = readers(engine, prefix)
        status, said = reader.exec_run(["touch", f"{KEPT}/new"])
        assert status != 0 and b"Read-only" in said
        config = reader.attrs["HostConfig"]
        assert (config["NetworkMode"], config["CapDrop"]) == ("none", ["ALL"])
        async for chunk in opened.content:
            hashed.update(chunk)
    assert hashed.hexdigest() == digest
    async with files.file("ada", "", 1, "empty") as opened:
        assert opened.size == 0 and [chunk async for chunk in opened.content] == []

    # somebody leaves in the middle
    async with files.file("ada", "", 1, "big") as opened:
        async for _chunk in opened.content:
            break
    await files.close()
    assert readers(engine, prefix) == []
    await client.close()


async def test_a_reader_whose_service_was_killed_ends_by_itself(
    engine: docker.DockerClient, image: str, prefix: str
) -> None:
    fill(engine, image, prefix)
    client = EngineClient()
    await HubContainers(client, lambda: prefix, prefix).start_reader("ada", "", 1, image, 2)
    assert len(readers(engine, prefix)) == 1
    async with asyncio.timeout(60):
        while readers(engine, prefix):  # noqa: ASYNC110 - the Engine removes it
            await asyncio.sleep(0.2)
    await client.close()
