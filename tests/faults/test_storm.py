"""Many starts at once: on four devices, twenty that wait and are served, and a small storm."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import docker
import pytest
from hub_app import HubApp, until
from storming import Event, overtaken, storm
from world import check, one_holder_ever

from hub_ext.models import QueueEntry, Request, Snapshot

# sign-in as jupyterhub_config.py has it: the turnstile is in it
EXTRA = """
c.JupyterHub.authenticator_class = "hub_ext.sign_in.SignIn"
c.GPUDockerSpawner.ulimits = {}
"""

pytestmark = pytest.mark.timeout(300)


@pytest.mark.fault(8)
async def test_twenty_at_once_never_share_a_device(
    make_hub: Callable[..., HubApp], engine: docker.DockerClient
) -> None:
    """A storm on four devices: four leases at a time, the rest in line, in order of arrival, and
    whoever waits too long is told so."""
    hub = make_hub(
        devices=4,
        extra='c.GPUDockerSpawner.cmd = ["sleep", "600"]\nc.GPUDockerSpawner.queue_timeout = 25\n',
    )
    await hub.start()
    users = [f"user{number:02d}" for number in range(20)]
    answers = await asyncio.gather(*(hub.request_server(user, {"gpus": 1}) for user in users))
    assert {status for status, _body in answers} == {202}

    async def four() -> bool:
        return len(hub.ledger().leases()) == 4 and len(hub.ledger().queue()) == 16

    await until(four, 60, lambda: f"{hub.ledger().leases()} {hub.ledger().queue()}")
    granted = [uuid for lease in hub.ledger().leases() for uuid in lease.device_uuids]
    assert len(granted) == len(set(granted)) == 4
    first = [entry.request.user for entry in hub.ledger().queue()][0]
    out = hub.ledger().leases()[0].user
    await hub.stop_server(out)

    async def next_one() -> bool:
        return first in {lease.user for lease in hub.ledger().leases()}

    await until(next_one, 20)
    last = await hub.failure(hub.ledger().queue()[-1].request.user)
    assert "No GPU became free in time" in last["message"]

    async def nobody_waits() -> bool:
        return hub.ledger().queue() == ()

    await until(nobody_waits, 20)


@pytest.mark.fault(8)
async def test_a_small_storm(make_hub: Callable[..., HubApp], engine: docker.DockerClient) -> None:
    """`make storm` is the large one, which also tells how fast the hub is meanwhile."""
    hub = make_hub(devices=3, service=True, extra=EXTRA)
    await hub.start()
    people = [f"user{number:02d}" for number in range(12)]
    figures = await storm(hub, lambda: check(hub, engine), people, heavy=people[:2], idle=0.5)
    assert figures.timing.failed == {}
    assert sorted(figures.served) == people
    assert figures.overtaken == []
    assert figures.looks > 0
    assert figures.timing.during.failed == 0
    one_holder_ever(hub)
    ratio = figures.timing.during.p99 / figures.timing.idle.p99
    print(f"/hub/health: p99 {ratio:.1f} times that of an idle hub")


NOW = datetime(2026, 1, 1, tzinfo=UTC)


def line(*users: str, **usage: float) -> Snapshot:
    queue = tuple(
        QueueEntry(Request(user, "", 1), number, NOW) for number, user in enumerate(users)
    )
    return Snapshot((), queue, now=NOW, usage=usage)


@pytest.mark.parametrize(
    ("served", "usage", "right"),
    [
        (["ada", "bob", "cleo"], {}, True),
        (["bob", "ada", "cleo"], {}, False),
        (["bob", "cleo", "ada"], {"ada": 9.0}, True),
        (["ada", "bob", "cleo"], {"ada": 9.0}, False),
    ],
)
def test_overtaking_is_seen(served: list[str], usage: dict[str, float], right: bool) -> None:
    """One device: each ends before the next is granted."""
    trail = []
    for number, user in enumerate(served):
        at = NOW + timedelta(seconds=2 * number + 1)
        trail += [Event(at, "grant", user), Event(at + timedelta(seconds=1), "end", user)]
    seen = [line("ada", "bob", "cleo", **usage)]
    assert (overtaken(seen, trail, devices=1, live=0) == []) is right
    # with a device for each nobody has to wait for anybody
    assert overtaken(seen, trail, devices=3, live=0) == []
