"""What the host says of a server's devices, which its container cannot see. Pure but for its reads.

Guarantees: JSON-ready values; null is what is not known, never a guess; of others it tells that
they hold memory and how much, neither names nor PIDs. It does not ask NVML: it tells what the last
inventory found; of the Engine it asks one question, about the server's own container. So asking
often costs nobody anything.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from ..errors import HubRefused, HubUnavailable, NotFound
from ..health import ANY_CARD, XidEvent, XidFault, counts, explain
from ..host_facts import HostState, Nodes
from ..i18n import _
from ..inventory import known_faults
from ..inventory.attribution import holdings
from ..models import Cordon, Device, DeviceDetail, DeviceRecord, DeviceState, Key, Lease
from ..reconcile import ContainerFact
from .device_memory import by_container
from .device_reasons import device_reason

if TYPE_CHECKING:
    from .parts import Service

Json = dict[str, Any]

MOST_XIDS = 8  # told of a device


@dataclass(frozen=True, slots=True)
class HostFacts:
    """What is known at one moment.

    `seen` and `looked_at` are of the last inventory, nothing and None if it failed or is old;
    `faults` and `events` are XIDs by card: those that keep it out, and the latest of all kinds.
    """

    leases: Sequence[Lease] = ()
    records: Sequence[DeviceRecord] = ()
    seen: Mapping[str, Device] = field(default_factory=dict)
    looked_at: datetime | None = None
    containers: Sequence[ContainerFact] = ()
    faults: Mapping[str, XidFault] = field(default_factory=dict)
    events: Sequence[XidEvent] = ()
    host: HostState = HostState()
    nodes: Nodes | None = None  # in the server's container; None: it cannot be told


async def host_view(service: Service, user: str, server: str) -> Json:
    """The devices of a server as the host sees them.

    Raises LedgerUnavailable, and NotFound for an unknown user or a named server that never was.
    """
    ledger, monitor = service.ledger, service.monitor
    leases, records, faults = await asyncio.to_thread(
        lambda: (ledger.leases(), ledger.devices(), known_faults(ledger))
    )
    host, nodes = await _look(service, leases, records, (user, server))
    facts = HostFacts(
        leases=leases,
        records=records,
        seen=monitor.seen(),
        looked_at=monitor.looked_at,
        containers=monitor.health.containers,
        faults=faults,
        events=service.recent_xids(),
        host=host,
        nodes=nodes,
    )
    if all((each.user, each.server) != (user, server) for each in leases):
        await _require_server(service, user, server)
    return describe(facts, (user, server))


async def _look(
    service: Service, leases: Sequence[Lease], records: Sequence[DeviceRecord], server: Key
) -> tuple[HostState, Nodes | None]:
    if service.host is None:
        return HostState(), None
    known = {record.device.uuid: record.device for record in records}
    lease = next((each for each in leases if (each.user, each.server) == server), None)
    devices = [known[uuid] for uuid in lease.device_uuids if uuid in known] if lease else []
    # a simulated device has no node; MIG instances share their card's
    cards = {each.parent or each.uuid for each in devices if not each.simulated}
    if lease is None or not lease.container_id or not cards:
        return await service.host.state(), None
    return await asyncio.gather(
        service.host.state(), service.host.nodes(lease.container_id, len(cards))
    )


async def _require_server(service: Service, user: str, server: str) -> None:
    try:
        found = await service.hub.server(user, server)
    except (HubUnavailable, HubRefused):
        return  # nobody can say; it has no device either way
    if found is None and server:
        raise NotFound(_("There is no such server."))


def describe(facts: HostFacts, server: Key) -> Json:
    """The view of one server; texts in the reader's language."""
    lease = next((each for each in facts.leases if (each.user, each.server) == server), None)
    known = {record.device.uuid: record for record in facts.records}
    servers = by_container(facts.leases, facts.containers)
    return {
        "user": server[0],
        "server": server[1],
        "lease": lease.id if lease is not None else None,
        "looked_at": facts.looked_at.isoformat() if facts.looked_at is not None else None,
        "host": {
            "toolkit_version": facts.host.toolkit_version,
            "persistenced": facts.host.persistenced,
        },
        "nodes": {"present": list(facts.nodes.present), "missing": list(facts.nodes.missing)}
        if facts.nodes is not None
        else None,
        "devices": [
            _device(facts, lease, uuid, known.get(uuid), servers) for uuid in lease.device_uuids
        ]
        if lease is not None
        else [],
    }


def _device(
    facts: HostFacts,
    lease: Lease,
    uuid: str,
    record: DeviceRecord | None,
    servers: Mapping[str, Key],
) -> Json:
    device = record.device if record is not None else Device(uuid, uuid, 0)
    seen = facts.seen.get(uuid)
    detail = (seen.detail if seen is not None else None) or DeviceDetail()
    reason = record.reason if record is not None else ""
    return {
        "uuid": uuid,
        "name": device.name,
        "simulated": device.simulated,
        "mig": device.is_mig,
        "shared": lease.shared,
        "state": (record.state if record is not None else DeviceState.MISSING).value,
        "reason": reason,
        "reason_text": device_reason(reason),
        "cordon": (record.cordon if record is not None else Cordon.NONE).value,
        "driver_version": device.driver_version,
        "cuda_version": device.cuda_version,
        "persistence": detail.persistence,
        "compute_mode": detail.compute_mode or None,
        "memory_bytes": device.memory_bytes,
        "memory_used_bytes": detail.memory_used_bytes,
        "xids": [
            {"xid": xid, "at": at.isoformat(), "text": device_reason(explain(xid))}
            for xid, at in _xids(facts, lease, device)
        ],
        "holders": None
        if detail.processes is None
        else [
            {
                "holder": each.holder.value,
                "processes": each.processes,
                "pid": each.pid,
                "memory_bytes": each.memory_bytes,
            }
            for each in holdings(detail.processes, servers, (lease.user, lease.server))
        ],
    }


def _xids(facts: HostFacts, lease: Lease, device: Device) -> list[tuple[int, datetime]]:
    """The latest XIDs that concern this lease, the last one last."""
    card = device.parent or device.uuid
    alone = not (lease.shared or device.is_mig)
    found = [
        (event.xid, event.at)
        for event in facts.events
        # what a program of somebody else did on the same card, or before, is theirs
        if _concerns(event.card, card)
        and (counts(event.xid) or (alone and event.at >= lease.granted_at))
    ]
    told = {xid for xid, _at in found}
    kept = _kept(facts.faults.get(key) for key in (card, ANY_CARD))
    found += [(xid, at) for xid, at in kept if xid not in told]
    return sorted(found, key=lambda pair: pair[1])[-MOST_XIDS:]


def _concerns(card: str, mine: str) -> bool:
    return card in (mine, ANY_CARD)


def _kept(faults: Iterable[XidFault | None]) -> list[tuple[int, datetime]]:
    """Those that an earlier run of the service saw; the time is that of a card's last one."""
    return [(xid, fault.at) for fault in faults if fault is not None for xid in fault.xids]
