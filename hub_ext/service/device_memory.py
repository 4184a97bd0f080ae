"""Who holds the memory of devices, by user and process, for those who may see all devices.

Guarantees: JSON-ready values of the last inventory, so that asking costs the driver nothing; a
process is somebody's only if it runs in a container that the ledger or the Engine names as theirs
(inventory/attribution.py), and nobody's otherwise; null is what is not known, never a guess.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..inventory.attribution import owned
from ..models import Device, Key, Lease
from ..reconcile import ContainerFact
from .lease_views import Json

if TYPE_CHECKING:
    from .parts import Service


def by_container(leases: Iterable[Lease], containers: Iterable[ContainerFact]) -> dict[str, Key]:
    """By container, whose it is; the ledger's word counts more than a label's."""
    labelled = {each.id: (each.user, each.server) for each in containers}
    leased = {each.container_id: (each.user, each.server) for each in leases}
    return {container: key for container, key in (labelled | leased).items() if container}


def processes_of(device: Device | None, servers: Mapping[str, Key]) -> list[Json] | None:
    """The processes that hold memory of a device; None: nobody could say (or it was not seen)."""
    detail = device.detail if device is not None else None
    if device is None or detail is None or detail.processes is None:
        return None
    return [
        {
            "device": device.uuid,
            "user": each.server[0] if each.server is not None else None,
            "server": each.server[1] if each.server is not None else None,
            "pid": each.pid,
            "pid_in_container": each.pid_inside,
            "memory_bytes": each.memory_bytes,
        }
        for each in owned(detail.processes, servers)
    ]


async def memory_view(service: Service) -> list[Json]:
    """The processes on all devices that tell, by device and PID. Raises LedgerUnavailable."""
    snapshot = await asyncio.to_thread(service.ledger.snapshot, service.now())
    servers = by_container(snapshot.leases, service.monitor.health.containers)
    seen = service.monitor.seen()
    return [row for uuid in sorted(seen) for row in processes_of(seen[uuid], servers) or ()]


@dataclass(slots=True)
class Share:
    """What one server (None: nobody's) holds of all devices."""

    server: Key | None
    memory_bytes: int | None = None  # of what is told
    processes: list[Json] = field(default_factory=list)


def by_holder(processes: Sequence[Json]) -> list[Share]:
    """The same by server, who holds most first, nobody's last."""
    shares: dict[Key | None, Share] = {}
    for process in processes:
        key = None if process["user"] is None else (process["user"], process["server"])
        share = shares.setdefault(key, Share(key))
        share.processes.append(process)
        if process["memory_bytes"] is not None:
            share.memory_bytes = (share.memory_bytes or 0) + process["memory_bytes"]
    return sorted(
        shares.values(),
        key=lambda share: (share.server is None, -(share.memory_bytes or 0), share.server or ()),
    )
