"""What goes wrong between hub, Engine and ledger, made to go wrong for real."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import docker
import pytest
from engine_fault_proxy import EngineFaultProxy
from hub_app import HubApp, until
from resets import reset
from world import containers, failure_of, no_lease, nothing_left

from hub_ext.models import LeaseState

pytestmark = pytest.mark.timeout(300)


async def test_engine_away_at_a_start(
    faulty_hub: HubApp, faults: EngineFaultProxy, engine: docker.DockerClient
) -> None:
    hub = faulty_hub
    before = hub.all_leases()
    with faults.away():
        message = await failure_of(hub, "ada", {"gpus": 1})
    assert "does not answer" in message and "Nothing is reserved" in message
    assert hub.all_leases() == before
    assert hub.ledger().queue() == ()
    await hub.start_server("ada", 1)  # it is back


@pytest.mark.fault(1)
async def test_inspect_errors_do_not_stop_a_server(
    faulty_hub: HubApp, faults: EngineFaultProxy, engine: docker.DockerClient
) -> None:
    """Stock DockerSpawner calls the server stopped; the next user would get its device."""
    hub = faulty_hub
    await hub.start_server("ada", 2)
    fault = faults.fail(r"^GET .*/containers/.*/json", "error", status=500)

    async def asked() -> bool:
        return fault.seen >= 4

    await until(asked, 30)
    await asyncio.sleep(6)
    model = await hub.server("ada")
    assert model is not None and model["ready"]
    assert [lease.state for lease in hub.ledger().leases()] == [LeaseState.RUNNING]
    assert engine.containers.get(hub.container("ada")).status == "running"
    faults.heal()
    await hub.stop_server("ada")
    await nothing_left(hub, engine)


@pytest.mark.fault(2)
@pytest.mark.parametrize("step", ["create", "start"])
async def test_a_lost_reply(
    faulty_hub: HubApp,
    faults: EngineFaultProxy,
    engine: docker.DockerClient,
    step: str,
) -> None:
    """The effect is there and the reply is not: no second container, no second lease."""
    hub = faulty_hub
    fault = faults.fail(rf"^POST .*/{step}(\?|$)", "lost_reply", times=1)
    await hub.start_server("ada", 1)
    assert fault.seen == 1
    assert containers(hub, engine) == [hub.container("ada")]
    (lease,) = hub.ledger().leases()
    assert engine.containers.get(hub.container("ada")).labels["gpucamp.lease"] == lease.id


@pytest.mark.fault(2)
async def test_engine_goes_away_after_the_create(
    faulty_hub: HubApp, faults: EngineFaultProxy, engine: docker.DockerClient
) -> None:
    """Nobody knows whether the container exists: the lease stays until the Engine says."""
    hub = faulty_hub
    create = faults.fail(r"^POST .*/containers/create", "lost_reply", times=1)
    starting = asyncio.create_task(failure_of(hub, "ada", {"gpus": 1}))

    async def made() -> bool:
        return create.seen == 1

    await until(made, 30)
    faults.fail("", "refused")
    assert "does not answer" in await starting
    assert len(hub.ledger().leases()) == 1
    await asyncio.sleep(3)
    assert len(hub.ledger().leases()) == 1
    faults.heal()
    await nothing_left(hub, engine)


async def test_engine_away_at_a_stop(
    faulty_hub: HubApp, faults: EngineFaultProxy, engine: docker.DockerClient
) -> None:
    hub = faulty_hub
    await hub.start_server("ada", 2)
    with faults.away():
        await hub.stop_server("ada")
        assert len(hub.ledger().leases()) == 1  # the container runs on: nobody gets its devices
        assert engine.containers.get(hub.container("ada")).status == "running"
    await nothing_left(hub, engine)


async def test_restart_while_a_clean_up_is_pending(
    faulty_hub: HubApp, faults: EngineFaultProxy, engine: docker.DockerClient
) -> None:
    """The next start of the same server finishes it, and is not hit by it."""
    hub = faulty_hub
    await hub.start_server("ada", 2)
    with faults.away():
        await hub.stop_server("ada")
    await hub.start_server("ada", 2)
    await asyncio.sleep(7)  # longer than the clean-up's pause
    model = await hub.server("ada")
    assert model is not None and model["ready"]
    assert [lease.state for lease in hub.ledger().leases()] == [LeaseState.RUNNING]


async def test_the_engine_refuses_the_device(
    make_hub: Callable[..., HubApp], engine: docker.DockerClient
) -> None:
    """CDI is not configured on this Engine: its words reach the participant."""
    hub = make_hub(extra='c.GPUDockerSpawner.device_injection = "cdi"\n')
    await hub.start()
    message = await failure_of(hub, "ada", {"gpus": 1})
    assert "could not be started" in message and "device" in message
    await nothing_left(hub, engine)


@pytest.mark.fault(7)
async def test_leftover_running_container_of_the_same_name(
    hub: HubApp, engine: docker.DockerClient, image: str
) -> None:
    """Stock DockerSpawner ends in a 500 here."""
    engine.containers.run(
        image, ["sleep", "600"], name=hub.container("ada"), network=hub.network, detach=True
    )
    await hub.start_server("ada", 1)
    await hub.stop_server("ada")
    await no_lease(hub)


async def test_a_running_container_of_another_hub_is_not_touched(
    hub: HubApp, engine: docker.DockerClient, image: str
) -> None:
    other = engine.containers.run(
        image,
        ["sleep", "600"],
        name=hub.container("ada"),
        labels={"gpucamp.hub": "another"},
        network=hub.network,
        detach=True,
    )
    before = hub.all_leases()
    status, body = await hub.request_server("ada", {"gpus": 1})
    assert status == 409, body
    other.reload()
    assert other.status == "running"
    assert hub.all_leases() == before


@pytest.mark.fault(6)
async def test_container_removed_by_hand_frees_its_devices(
    faulty_hub: HubApp, engine: docker.DockerClient
) -> None:
    hub = faulty_hub  # it polls each second
    await hub.start_server("ada", 1)
    engine.containers.get(hub.container("ada")).remove(force=True)
    await no_lease(hub, 10)


async def test_servers_survive_a_killed_hub(hub: HubApp, engine: docker.DockerClient) -> None:
    await hub.start_server("ada", 1)
    before = engine.containers.get(hub.container("ada")).id
    (lease,) = hub.ledger().leases()
    hub.kill()
    await hub.start()
    await hub.wait_ready("ada")
    assert engine.containers.get(hub.container("ada")).id == before
    assert hub.ledger().leases() == (lease,)
    status, _body = await hub.through_proxy("ada")
    assert status == 200
    await hub.start_server("bob", 1)
    assert set(hub.ledger().leases()[1].device_uuids).isdisjoint(lease.device_uuids)
    await hub.stop_server("ada")
    assert [each.user for each in hub.ledger().leases()] == ["bob"]


async def test_servers_survive_a_stopped_hub(hub: HubApp, engine: docker.DockerClient) -> None:
    await hub.start_server("ada", 1)
    hub.stop()
    assert engine.containers.get(hub.container("ada")).status == "running"
    await hub.start()
    await hub.wait_ready("ada")
    assert len(hub.ledger().leases()) == 1


async def test_work_and_environment_survive_a_stop(
    hub: HubApp, engine: docker.DockerClient
) -> None:
    await hub.start_server("ada", 0)
    command = [
        "sh",
        "-c",
        "echo mine > ~/work/file && echo setting > ~/.setting && echo x > /tmp/x",
    ]
    assert engine.containers.get(hub.container("ada")).exec_run(command)[0] == 0
    await hub.stop_server("ada")
    await hub.start_server("ada", 0)
    container = engine.containers.get(hub.container("ada"))
    assert container.exec_run(["sh", "-c", "cat ~/work/file ~/.setting"])[1] == b"mine\nsetting\n"
    assert container.exec_run(["cat", "/tmp/x"])[0] != 0


async def test_a_named_server_has_an_environment_of_its_own_and_the_users_work(
    hub: HubApp, engine: docker.DockerClient
) -> None:
    await hub.start_server("ada", 0)
    command = ["sh", "-c", "echo mine > ~/work/file && echo setting > ~/.setting"]
    assert engine.containers.get(hub.container("ada")).exec_run(command)[0] == 0
    await hub.start_server("ada", 0, "second")
    second = engine.containers.get(hub.container("ada", "second"))
    assert second.exec_run(["sh", "-c", "cat ~/work/file"])[1] == b"mine\n"
    assert second.exec_run(["sh", "-c", "cat ~/.setting"])[0] != 0


async def test_a_held_lease_waits_for_its_server(hub: HubApp, engine: docker.DockerClient) -> None:
    """What a reset relies on: hold, stop, new generation, start; nobody gets in between."""
    from datetime import UTC, datetime, timedelta

    await hub.start_server("ada", 2)
    ledger = hub.ledger()
    (lease,) = ledger.leases()
    now = datetime.now(UTC)
    ledger.hold(lease.id, now + timedelta(minutes=5), now)
    assert (await hub.request_server("bob", {"gpus": 1}))[0] == 202
    await hub.stop_server("ada")
    (held,) = ledger.leases()
    assert held.state is LeaseState.HELD and held.gone_at is not None
    reset(ledger, "ada", "", now)
    await asyncio.sleep(1.5)
    await hub.start_server("ada", 2)
    (again,) = ledger.leases()
    assert (again.id, again.device_uuids) == (lease.id, lease.device_uuids)
    mounts = engine.containers.get(hub.container("ada")).attrs["Mounts"]
    names = {mount["Destination"]: mount["Name"] for mount in mounts}
    assert names["/home/jovyan"] == f"{hub.prefix}-env-ada-2"
    await hub.stop_server("ada")
    await hub.wait_ready("bob")


BAD_START = """
c.GPUDockerSpawner.ulimits = {}
ends = {"hungry": "tail /dev/zero", "killed": "sleep 600", "ends": "exit 7"}
def bad_start(spawner):
    user = spawner.user.name
    if user == "nobody":
        spawner.image = "sha256:" + 64 * "0"
    else:
        spawner.cmd = ["sh", "-c", f"echo last words; {ends[user]}"]
    if user == "hungry":
        spawner.mem_limit = "64M"
c.Spawner.pre_spawn_hook = bad_start
"""


async def test_how_a_container_ended_reaches_the_participant(
    make_hub: Callable[..., HubApp], engine: docker.DockerClient
) -> None:
    """Out of memory, killed, ended by itself, no image: with its last words."""
    hub = make_hub(extra=BAD_START)
    await hub.start()
    for user, *expected in (
        ("hungry", "out of memory", "last words"),
        ("killed", "exit code 137", "last words"),
        ("ends", "exit code 7", "last words"),
        ("nobody", "image", "missing"),
    ):
        failing = asyncio.create_task(failure_of(hub, user, {"gpus": 1}))
        if user == "killed":

            async def runs() -> bool:
                return hub.container("killed") in containers(hub, engine, all=False)

            await until(runs, 60, hub.log)
            engine.containers.get(hub.container(user)).kill()
        message = await failing
        for words in expected:
            assert words in message, (user, message)
    await nothing_left(hub, engine)


async def test_one_slow_call_delays_nobody_else(
    faulty_hub: HubApp, faults: EngineFaultProxy, engine: docker.DockerClient
) -> None:
    """Stock DockerSpawner has one thread for all users."""
    hub = faulty_hub
    slow = faults.fail(r"^POST .*/containers/create", "silent", times=1)
    assert (await hub.request_server("ada", {"gpus": 1}))[0] == 202

    async def stuck() -> bool:
        return slow.seen == 1

    await until(stuck, 30)
    await hub.start_server("bob", 1)
    await hub.stop_server("bob")
    model = await hub.server("ada")
    assert model is not None and model["pending"] == "spawn"
    faults.heal()  # cuts the call, which had no effect
    await hub.wait_ready("ada")
