"""Devices vanish, fail and come back, and the inventory hangs, while servers have leases on them.

A file says what happens to the practice devices; hub, service, ledger and Engine are real.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import docker
import pytest
import pytest_asyncio
from engine_fixtures import MakeHub
from hub_app import HubApp, until
from world import check, failure_of, one_holder_ever

from hub_ext.models import DeviceState, LeaseState

pytestmark = pytest.mark.timeout(300)

FIRST, SECOND = (f"GPU-5ca1ab1e-0000-4000-8000-{number:012x}" for number in range(2))


def say(hub: HubApp, **devices: object) -> None:
    """What happens from now on to `first` and `second`; whoever is not named is well."""
    names = {"first": FIRST, "second": SECOND}
    content = json.dumps({names[name]: change for name, change in devices.items()})
    whole = hub.folder / "devices.json"
    part = whole.with_suffix(".part")
    part.write_text(content)
    part.replace(whole)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def module_hub(make_module_hub: MakeHub) -> HubApp:
    made = make_module_hub(
        service=True,
        extra="c.Spawner.poll_interval = 1\nc.GPUDockerSpawner.ulimits = {}\n",
    )
    made.environment["GPUCAMP_PRACTICE_STATE"] = str(made.folder / "devices.json")
    say(made)
    await made.start()
    await until(made.service_answers, 120, made.log)
    return made


@pytest.fixture
async def hub(module_hub: HubApp) -> AsyncIterator[HubApp]:
    """A hub with gpucamp's service, two devices that are well, and no server."""
    yield module_hub
    say(module_hub)
    await module_hub.stop_all()


async def states(hub: HubApp, first: DeviceState, second: DeviceState) -> None:
    """Wait until the ledger says so of the two."""

    def now() -> dict[str, DeviceState]:
        return {each.device.uuid: each.state for each in hub.ledger().devices()}

    async def seen() -> bool:
        return now() == {FIRST: first, SECOND: second}

    await until(seen, 60, lambda: f"{now()}\n{hub.log()[-3000:]}")


@pytest.mark.fault(9)
async def test_an_inventory_that_is_empty_or_reordered_after_a_restart(
    hub: HubApp, engine: docker.DockerClient
) -> None:
    """Leases go by UUID: none is freed, and nobody gets what was not seen."""
    await hub.start_server("ada", 1)
    (lease,) = hub.ledger().leases()
    hub.kill()
    say(hub, first={"missing": True}, second={"missing": True})
    await hub.start()
    await states(hub, DeviceState.MISSING, DeviceState.MISSING)
    await hub.wait_ready("ada")
    assert hub.ledger().leases() == (lease,)
    assert (await hub.request_server("bob", {"gpus": 1}))[0] != 201
    assert [each.user for each in hub.ledger().leases()] == ["ada"]
    check(hub, engine)
    # the devices are back, and the leased one is not the first any more
    say(hub, **{"first" if lease.device_uuids == (FIRST,) else "second": {"missing": True}})
    kept = (DeviceState.MISSING, DeviceState.HEALTHY)
    await states(hub, *(kept if lease.device_uuids == (FIRST,) else kept[::-1]))
    assert hub.ledger().lease(lease.id).state is LeaseState.RUNNING
    if await hub.server("bob") is None:
        await hub.start_server("bob", 1)
    await hub.wait_ready("bob")
    bobs = hub.ledger().lease_of("bob", "")
    assert bobs is not None and set(bobs.device_uuids).isdisjoint(lease.device_uuids)
    check(hub, engine)
    one_holder_ever(hub)


@pytest.mark.fault(10)
async def test_a_device_that_fails_is_given_to_nobody_until_it_is_well(
    hub: HubApp, engine: docker.DockerClient
) -> None:
    await states(hub, DeviceState.HEALTHY, DeviceState.HEALTHY)
    await hub.start_server("ada", 1)
    (lease,) = hub.ledger().leases()
    name = "first" if lease.device_uuids == (FIRST,) else "second"
    ill = (DeviceState.QUARANTINED, DeviceState.HEALTHY)
    say(hub, **{name: {"reason": "the row remapper failed"}})
    await states(hub, *(ill if name == "first" else ill[::-1]))
    (kept,) = hub.ledger().leases()
    assert (kept.id, kept.state) == (lease.id, LeaseState.RUNNING)
    told = hub.ledger().notices("ada", "")
    assert "the row remapper failed" in str(told[-1].detail)
    await hub.stop_server("ada")
    await hub.start_server("bob", 1)  # gets the other one
    assert (await hub.request_server("cleo", {"gpus": 1}))[0] == 202
    assert hub.ledger().lease_of("cleo", "") is None
    say(hub)
    await hub.wait_ready("cleo")  # it is back by itself
    cleos = hub.ledger().lease_of("cleo", "")
    assert cleos is not None and cleos.device_uuids == lease.device_uuids
    check(hub, engine)


@pytest.mark.fault(20)
async def test_an_inventory_that_hangs_or_fails_frees_nothing_and_starts_go_on(
    make_hub: MakeHub, engine: docker.DockerClient
) -> None:
    """The driver does not answer the service: what was seen last stays true for the hub."""
    hub = make_hub(service=True)
    marker = hub.folder / "hang"
    hub.extra = (
        "c.GPUDockerSpawner.ulimits = {}\n"
        "c.GpucampService.scan_timeout = 1\n"
        "import pathlib, threading\n"
        "from hub_ext.inventory import practice_state\n"
        "apply = practice_state.PracticeState.apply\n"
        "def hang(self, devices):\n"
        f"    while pathlib.Path({str(marker)!r}).exists():\n"
        "        threading.Event().wait(0.2)\n"
        "    return apply(self, devices)\n"
        "practice_state.PracticeState.apply = hang\n"
    )
    await hub.start()
    await until(hub.service_answers, 120, hub.log)
    await hub.start_server("ada", 1)
    before = hub.ledger().leases()
    marker.touch()

    async def told() -> bool:
        _status, health = await hub.ask_service("health")
        return health["inventory"] != "ok"

    await until(told, 60, hub.log)
    assert hub.ledger().leases() == before
    await hub.start_server("bob", 1)
    assert "GPU" in await failure_of(hub, "cleo", {"gpus": 99})
    marker.unlink()

    async def well() -> bool:
        return not await told()

    await until(well, 60, hub.log)
    check(hub, engine)
