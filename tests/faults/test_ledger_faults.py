"""The ledger is damaged, read-only, on a full disk, or another hub's: nothing is leased on a guess.

Servers that run go on, and a ledger that is well again is used again, without a restart.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import docker
import pytest
import pytest_asyncio
from engine_fixtures import MakeHub
from hub_app import HubApp
from world import containers, failure_of

pytestmark = pytest.mark.timeout(300)


async def refuses_bob_and_keeps_ada(hub: HubApp, engine: docker.DockerClient) -> None:
    """While the ledger is of no use: nothing is leased, and who has a server keeps it."""
    message = await failure_of(hub, "bob", {"gpus": 1})
    assert "cannot be reserved" in message, message
    model = await hub.server("ada")
    assert model is not None and model["ready"]
    assert containers(hub, engine) == [hub.container("ada")]


async def leases_to_bob_again(hub: HubApp) -> None:
    """The ledger is well again: Bob gets the device that Ada has not."""
    await hub.start_server("bob", 1)
    devices = [lease.device_uuids for lease in hub.ledger().leases()]
    assert len(set(devices)) == 2
    await hub.stop_all()


@pytest.mark.fault(11)
@pytest.mark.parametrize("damage", ["overwritten", "cut in half", "without its latest changes"])
async def test_a_damaged_ledger(
    make_hub: Callable[..., HubApp], engine: docker.DockerClient, damage: str
) -> None:
    hub = make_hub()
    await hub.start()
    await hub.start_server("ada", 1)
    file = hub.folder / "ledger.sqlite"
    if damage == "without its latest changes":
        gc.collect()  # whoever closes it last writes all into the file; not this test
        hub.kill()
        assert (hub.folder / "ledger.sqlite-wal").stat().st_size
    else:
        hub.stop()
    whole = file.read_bytes()
    for left in hub.folder.glob("ledger.sqlite-[ws]*"):  # -wal and -shm
        left.unlink()
    if damage == "overwritten":
        file.write_bytes(b"not a database, " * 512)
    elif damage == "cut in half":
        file.write_bytes(whole[: len(whole) // 2])
    await hub.start()
    await refuses_bob_and_keeps_ada(hub, engine)


@pytest.fixture(scope="module")
def small_disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A file system of 8 MB of its own."""
    folder = tmp_path_factory.mktemp("disk")
    if os.geteuid() != 0:
        pytest.fail("Only root may mount a file system; run these tests as root.")
    _mount(folder, "-t", "tmpfs", "-o", "size=8m", "tmpfs")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def _mount(folder: Path, *arguments: str) -> None:
    subprocess.run(["mount", *arguments, str(folder)], check=True)


@contextlib.contextmanager
def _full(disk: Path) -> Iterator[None]:
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        for size in (65536, 512):
            with contextlib.suppress(OSError):
                while True:
                    file.write(b"\0" * size)
    try:
        yield
    finally:
        filler.unlink()


@contextlib.contextmanager
def _read_only(hub: HubApp, disk: Path) -> Iterator[None]:
    """As a disk becomes that fails: nothing can be written. (The hub is not to hold it open.)"""
    hub.stop()
    gc.collect()  # nor is this test: its ledgers' connections
    _mount(disk, "-o", "remount,ro")
    try:
        yield
    finally:
        _mount(disk, "-o", "remount,rw")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hub_on_small_disk(make_module_hub: MakeHub, small_disk: Path) -> AsyncIterator[HubApp]:
    made = make_module_hub(
        ledger_folder=small_disk,
        extra="c.Spawner.poll_interval = 1\nc.GPUDockerSpawner.ulimits = {}\n",
    )
    await made.start()
    yield made


@pytest.mark.fault(11)
async def test_a_full_disk(
    hub_on_small_disk: HubApp, engine: docker.DockerClient, small_disk: Path
) -> None:
    hub = hub_on_small_disk
    await hub.start_server("ada", 1)
    with _full(small_disk):
        await refuses_bob_and_keeps_ada(hub, engine)
    await leases_to_bob_again(hub)


@pytest.mark.fault(11)
async def test_a_read_only_disk(
    hub_on_small_disk: HubApp, engine: docker.DockerClient, small_disk: Path
) -> None:
    hub = hub_on_small_disk
    await hub.start_server("ada", 1)
    with _read_only(hub, small_disk):
        await hub.start()
        await refuses_bob_and_keeps_ada(hub, engine)
    await leases_to_bob_again(hub)


@pytest.mark.fault(12)
async def test_a_second_hub_on_the_ledger_is_refused(
    make_hub: Callable[..., HubApp], hub: HubApp
) -> None:
    await hub.start_server("ada", 0)  # the first start claims it
    other = make_hub(
        extra=f'c.GPUDockerSpawner.ledger_url = "sqlite:///{hub.folder}/ledger.sqlite"'
    )
    await other.start()
    status, body = await other.request_server("bob", {"gpus": 1})
    assert status == 503, body
    assert [lease.user for lease in hub.ledger().leases()] == ["ada"]
    # with jupyterhub_config.py it does not even start
    config = (
        "from hub_ext.defaults import refuse_second_hub\n"
        f'refuse_second_hub("sqlite:///{hub.folder}/ledger.sqlite")\n'
    )
    (other.folder / "second.py").write_text(config)
    second = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "jupyterhub", "-f", str(other.folder / "second.py")],
        cwd=other.folder,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert second.returncode != 0
    assert "gpucamp does not start" in second.stderr
