"""The queue outlives the hub: who waited when it was killed is served in the old order."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import docker
import pytest
from hub_app import HubApp, until
from kill_points import services_of
from world import check, one_holder_ever

pytestmark = pytest.mark.timeout(300)

WAITING = ("cleo", "ada", "dan")  # in order of arrival


def kill(hub: HubApp) -> None:
    """SIGKILL to the hub and its service."""
    assert hub.process is not None
    for pid in services_of(hub.process.pid):
        os.kill(pid, signal.SIGKILL)
    hub.kill()


def in_line(hub: HubApp) -> list[str]:
    return [entry.request.user for entry in hub.ledger().queue()]


async def test_those_who_wait_are_served_in_their_order_after_the_hub_was_killed(
    make_hub: Callable[..., HubApp], engine: docker.DockerClient
) -> None:
    hub = make_hub(service=True, extra="c.GPUDockerSpawner.ulimits = {}\n")
    await hub.start()
    await hub.start_server("bob", 2)
    for place, user in enumerate(WAITING, start=1):
        assert (await hub.request_server(user, {"gpus": 2}))[0] == 202

        async def waits(place: int = place) -> bool:
            return len(hub.ledger().queue()) == place

        await until(waits, 30, hub.log)
    before = hub.ledger().snapshot()
    kill(hub)
    await hub.start()

    async def started_again() -> bool:
        seen = hub.ledger().snapshot()
        assert [entry.request.user for entry in seen.queue] == list(WAITING)
        return seen.run != before.run and {each.waiter for each in seen.queue} == {seen.run}

    await until(started_again, 120, hub.log)
    assert [entry.sequence for entry in hub.ledger().queue()] == [
        entry.sequence for entry in before.queue
    ]
    model = await hub.server("bob")
    assert model is not None and model["ready"]
    holder = "bob"
    for number, user in enumerate(WAITING):
        await hub.stop_server(holder)
        await hub.wait_ready(user)
        assert in_line(hub) == list(WAITING[number + 1 :])
        check(hub, engine)
        holder = user
    one_holder_ever(hub)
