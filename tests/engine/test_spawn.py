"""Starts and stops on a real Docker Engine, seen from the hub's REST API and from inside."""

from __future__ import annotations

import docker
import pytest

from hub_ext.models import LeaseState
from hub_app import HubApp, until

FIRST, SECOND = (f"GPU-5ca1ab1e-0000-4000-8000-{number:012x}" for number in range(2))


def environ_inside(engine: docker.DockerClient, name: str) -> dict[str, str]:
    """The environment as a process in the container sees it."""
    code, output = engine.containers.get(name).exec_run(["env"])
    assert code == 0, output
    return dict(line.split("=", 1) for line in output.decode().splitlines() if "=" in line)


async def test_two_users_get_a_device_each(hub: HubApp, engine: docker.DockerClient) -> None:
    await hub.start_server("ada", 1)
    await hub.start_server("bob", 1)
    ada, bob = (environ_inside(engine, hub.container(user)) for user in ("ada", "bob"))
    assert {ada["GPUCAMP_DEVICES"], bob["GPUCAMP_DEVICES"]} == {FIRST, SECOND}
    assert ada["NVIDIA_VISIBLE_DEVICES"] == ada["GPUCAMP_DEVICES"]
    assert ada["GPUCAMP_SIMULATED"] == "1"
    leases = hub.ledger().leases()
    assert [lease.state for lease in leases] == [LeaseState.RUNNING] * 2
    assert {lease.container_id for lease in leases} == {
        engine.containers.get(hub.container(user)).id for user in ("ada", "bob")
    }
