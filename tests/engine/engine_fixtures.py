"""Fixtures on the real Docker Engine, for each level that needs one; a level's conftest.py imports
them with `from engine_fixtures import *` and has an `image` of its own.

What is missing is an error with its remedy, never a skip.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import docker
import pytest
import pytest_asyncio
from engine_fault_proxy import ENGINE_SOCKET, EngineFaultProxy
from hub_app import REPOSITORY, HubApp

__all__ = [
    "engine",
    "faults",
    "faulty_hub",
    "hub",
    "make_hub",
    "make_module_hub",
    "module_faults",
    "module_faulty_hub",
    "module_hub",
    "network",
    "proxy",
]

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


MakeHub = Callable[..., HubApp]


def _maker(
    folder: Path, image: str, proxy: str, network: tuple[str, str]
) -> tuple[MakeHub, list[HubApp]]:
    hubs: list[HubApp] = []

    def make(**settings: Any) -> HubApp:
        own = folder / f"hub{len(hubs)}"
        own.mkdir()
        usual = {
            "folder": own,
            "image": image,
            "proxy": proxy,
            "network": network[0],
            "gateway": network[1],
            "prefix": f"gctest{secrets.token_hex(4)}",
        }
        made = HubApp(**(usual | settings))
        hubs.append(made)
        return made

    return make, hubs


@pytest.fixture
def make_hub(tmp_path: Path, image: str, proxy: str, network: tuple[str, str]) -> Iterator[MakeHub]:
    """Makes hubs that are closed, with all they left, after the test."""
    make, hubs = _maker(tmp_path, image, proxy, network)
    yield make
    for made in hubs:
        made.close()


@pytest.fixture(scope="module")
def make_module_hub(
    tmp_path_factory: pytest.TempPathFactory, image: str, proxy: str, network: tuple[str, str]
) -> Iterator[MakeHub]:
    make, hubs = _maker(tmp_path_factory.mktemp("hubs"), image, proxy, network)
    yield make
    for made in hubs:
        made.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def module_hub(make_module_hub: MakeHub) -> HubApp:
    made = make_module_hub()
    await made.start()
    return made


@pytest.fixture
async def hub(module_hub: HubApp) -> AsyncIterator[HubApp]:
    """A running hub with two simulated devices and no server; a module's tests share it."""
    yield module_hub
    await module_hub.stop_all()


@pytest.fixture(scope="module")
def module_faults(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineFaultProxy]:
    where = urlparse(os.environ.get("DOCKER_HOST") or f"unix://{ENGINE_SOCKET}")
    if where.scheme != "unix":
        pytest.fail(f"The Engine must be on a local socket for these tests; {REMEDY}.")
    made = EngineFaultProxy(tmp_path_factory.mktemp("faults") / "engine.sock", where.path)
    made.start()
    yield made
    made.stop()


@pytest.fixture
def faults(module_faults: EngineFaultProxy) -> Iterator[EngineFaultProxy]:
    """The proxy between `faulty_hub` and the Engine; whole again after the test."""
    yield module_faults
    module_faults.heal()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def module_faulty_hub(make_module_hub: MakeHub, module_faults: EngineFaultProxy) -> HubApp:
    made = make_module_hub(
        docker_host=module_faults.address,
        extra="c.Spawner.poll_interval = 1\n"
        "c.GPUDockerSpawner.stop_patience = 1\n"
        "c.GPUDockerSpawner.ulimits = {}\n",
    )
    await made.start()
    return made


@pytest.fixture
async def faulty_hub(module_faulty_hub: HubApp, faults: EngineFaultProxy) -> AsyncIterator[HubApp]:
    """A running hub that reaches the Engine through `faults`."""
    yield module_faulty_hub
    faults.heal()
    await module_faulty_hub.stop_all()
