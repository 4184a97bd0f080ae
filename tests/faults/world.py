"""What must hold between ledger and Engine at every moment, and when a server is at rest.

Guarantees: `check` raises nothing for a world that is merely on its way (it compares what was true
at one time), and AssertionError for one device with two holders, or a container without a lease.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime

import docker
import docker.errors
from hub_app import HubApp, until

from hub_ext.models import Lease, LeaseState

LIVE = ("running", "created", "restarting", "paused")


def containers(hub: HubApp, engine: docker.DockerClient, *, all: bool = True) -> list[str]:
    """Names of this hub's containers; unless `all`, of those that run."""
    found = engine.api.containers(all=all, filters={"name": hub.prefix})
    return [each["Names"][0].lstrip("/") for each in found]


async def no_lease(hub: HubApp, seconds: float = 60) -> None:
    """Wait until nothing is leased."""

    async def free() -> bool:
        return hub.ledger().leases() == ()

    await until(free, seconds, lambda: f"{hub.ledger().leases()}\n{hub.log()[-3000:]}")


async def nothing_left(hub: HubApp, engine: docker.DockerClient) -> None:
    """Wait until nothing is leased; then there is no container either."""
    await no_lease(hub)
    assert containers(hub, engine) == []


async def failure_of(hub: HubApp, user: str, options: object) -> str:
    """Ask for a server that cannot start; what the participant is told."""
    status, body = await hub.request_server(user, options)
    if status < 300:  # it goes on, or its clean-up does
        body = await hub.failure(user)
    return str(body["message"])


def check(hub: HubApp, engine: docker.DockerClient) -> None:
    """One holder per device at most, in ledger and Engine; no container without a lease."""
    now = datetime.now(UTC)
    found = engine.api.containers(
        all=True, filters={"label": [f"gpucamp.hub={hub.ledger().hub_id()}"]}
    )
    alive = [each for each in found if each["State"] in LIVE]
    leases = {lease.id: lease for lease in hub.ledger().leases(include_ended=True)}
    _one_holder([lease.device_uuids for lease in leases.values() if _is_live(lease)], "leased")
    devices = []
    for each in alive:
        labels = each["Labels"]
        lease = leases.get(labels["gpucamp.lease"])
        assert lease is not None, f"{each['Names']} has a lease that never was"
        ended = lease.ended_at is not None and lease.ended_at < now
        assert not ended, f"{each['Names']} lives, and its lease ended: {lease}"
        named = tuple(uuid for uuid in labels["gpucamp.devices"].split(",") if uuid)
        assert set(named) == set(lease.device_uuids), (labels, lease)
        devices.append(named)
    _one_holder(devices, "in containers")


def one_holder_ever(hub: HubApp) -> None:
    """Over the whole history: a device is granted only after its last lease has ended."""
    leases = {lease.id: lease for lease in hub.ledger().leases(include_ended=True)}
    holder: dict[str, str] = {}
    for line in hub.ledger().audit_trail():
        lease = leases.get(line.lease_id)
        if lease is None:
            continue
        for uuid in lease.device_uuids:
            if line.action == "grant":
                assert uuid not in holder, f"{uuid}: {lease.id} besides {holder[uuid]}"
                holder[uuid] = lease.id
            elif line.action == "end" and holder.get(uuid) == lease.id:
                del holder[uuid]


async def at_rest(
    hub: HubApp, engine: docker.DockerClient, user: str, seconds: float = 90
) -> Lease | None:
    """Wait until the user's server is there as a whole, or nothing of it is; its lease, or None.

    Checks at each look.
    """
    found: list[Lease | None] = []

    async def rests() -> bool:
        check(hub, engine)
        model = await hub.server(user)
        lease = hub.ledger().lease_of(user, "")
        waits = any(entry.request.user == user for entry in hub.ledger().queue())
        exists = hub.container(user) in containers(hub, engine)
        runs = hub.container(user) in containers(hub, engine, all=False)
        found[:] = [lease]
        if model is None:
            return lease is None and not waits and not exists
        return (
            bool(model["ready"])
            and runs
            and lease is not None
            and lease.state is LeaseState.RUNNING
        )

    await until(rests, seconds, lambda: f"{hub.ledger().leases()}\n{hub.log()[-6000:]}")
    return found[0]


def _is_live(lease: Lease) -> bool:
    return lease.state is not LeaseState.ENDED


def _one_holder(held: Sequence[Sequence[str]], words: str) -> None:
    twice = [uuid for uuid, n in Counter(u for each in held for u in each).items() if n > 1]
    assert not twice, f"{words} more than once: {twice}"
