"""Fixtures on the real Docker Engine. What is missing is an error with its remedy, never a skip."""

from __future__ import annotations

import os
import secrets
import shutil
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import docker
import pytest
from hub_app import REPOSITORY, HubApp

sys.path.insert(0, str(REPOSITORY / "tests" / "fakes"))
from engine_fault_proxy import ENGINE_SOCKET, EngineFaultProxy  # noqa: E402

REMEDY = "run `make test LEVELS=engine`, which sets up what these tests need"


@pytest.fixture(scope="session")
def engine() -> Iterator[docker.DockerClient]:
    try:
        client = docker.from_env(timeout=60)
        client.ping()
    except docker.errors.DockerException as error:
        pytest.fail(f"No Docker Engine answers ({error}); {REMEDY}.")
    yield client
    client.close()


@pytest.fixture(scope="session")
def image(engine: docker.DockerClient) -> str:
    """The image under test: GPUCAMP_IMAGE, or the one `make image` built."""
    kept = REPOSITORY / ".gpucamp" / "image"
    name = os.environ.get("GPUCAMP_IMAGE") or (kept.read_text().strip() if kept.exists() else "")
    if not name:
        pytest.fail(f"There is no image; {REMEDY}.")
    engine.images.get(name)
    return name


@pytest.fixture(scope="session")
def proxy() -> str:
    """The npm configurable-http-proxy."""
    usual = REPOSITORY / ".gpucamp" / "node" / "node_modules" / ".bin" / "configurable-http-proxy"
    command = os.environ.get("GPUCAMP_PROXY_COMMAND") or str(usual)
    if shutil.which(command) is None:
        pytest.fail(f"There is no {command}; {REMEDY}.")
    return command


@pytest.fixture(scope="session")
def network(engine: docker.DockerClient) -> Iterator[tuple[str, str]]:
    """Name and gateway of a network of the tests' own."""
    name = f"gpucamp-test-{secrets.token_hex(4)}"
    made = engine.networks.create(
        name, driver="bridge", options={"com.docker.network.bridge.enable_icc": "false"}
    )
    made.reload()
    yield name, made.attrs["IPAM"]["Config"][0]["Gateway"]
    made.remove()


@pytest.fixture
async def make_hub(
    tmp_path: Path, image: str, proxy: str, network: tuple[str, str]
) -> AsyncIterator[Callable[..., HubApp]]:
    """Makes hubs that are closed, with all they left, after the test."""
    hubs: list[HubApp] = []

    def make(**settings: Any) -> HubApp:
        folder = tmp_path / f"hub{len(hubs)}"
        folder.mkdir()
        made = HubApp(
            folder=folder,
            image=image,
            proxy=proxy,
            network=network[0],
            gateway=network[1],
            prefix=f"gctest{secrets.token_hex(4)}",
            **settings,
        )
        hubs.append(made)
        return made

    yield make
    for made in hubs:
        made.close()


@pytest.fixture
async def hub(make_hub: Callable[..., HubApp]) -> HubApp:
    """A running hub with two simulated devices."""
    made = make_hub()
    await made.start()
    return made


@pytest.fixture
def faults(tmp_path: Path) -> Iterator[EngineFaultProxy]:
    """A proxy before the Engine, for `make_hub(docker_host=faults.address)`."""
    where = urlparse(os.environ.get("DOCKER_HOST") or f"unix://{ENGINE_SOCKET}")
    if where.scheme != "unix":
        pytest.fail(f"The Engine must be on a local socket for these tests; {REMEDY}.")
    made = EngineFaultProxy(tmp_path / "engine.sock", where.path)
    made.start()
    yield made
    made.stop()


@pytest.fixture(scope="module")
async def shared_hub(
    tmp_path_factory: pytest.TempPathFactory, image: str, proxy: str, network: tuple[str, str]
) -> AsyncIterator[HubApp]:
    """One hub for the tests of a module that leave nothing in it."""
    made = HubApp(
        folder=tmp_path_factory.mktemp("hub"),
        image=image,
        proxy=proxy,
        network=network[0],
        gateway=network[1],
        prefix=f"gctest{secrets.token_hex(4)}",
    )
    await made.start()
    yield made
    made.close()
