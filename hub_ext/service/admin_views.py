"""What those who may see everyone are told: devices with their holders, the line, leases.

Guarantees: JSON-ready values in a fixed order (devices by UUID, the line by position).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..errors import NotFound
from ..fair_queue import decide, line_up
from ..i18n import _
from ..inventory import known_faults
from ..ledger.slots import configured
from ..models import AuditEntry, DeviceHealth, DeviceRecord, Lease, Link, QueueEntry, Snapshot
from .device_memory import by_container, processes_of
from .device_reasons import device_reason
from .device_xids import device_xids
from .lease_views import Json, iso, place_view, revocation_view

if TYPE_CHECKING:
    from .parts import Service


def device_view(record: DeviceRecord, leases: Mapping[str, Lease]) -> Json:
    """A device and who holds it."""
    device = record.device
    return {
        "uuid": device.uuid,
        "name": device.name,
        "memory_bytes": device.memory_bytes,
        "simulated": device.simulated,
        "state": record.state.value,
        "reason": device_reason(record.reason),
        "cordon": record.cordon.value,
        "cordon_reason": record.cordon_reason,
        "slots": device.slots,
        "shared": device.shared,
        "free": record.is_free,
        "pool": device.pool,
        "parent": device.parent or None,
        "numa_node": device.numa_node,
        "links": [
            {"uuid": uuid, "link": _level(score).name.lower(), "score": score}
            for uuid, score in device.links
        ],
        "leases": [
            {
                "id": lease.id,
                "user": lease.user,
                "server": lease.server,
                "state": lease.state.value,
                "expires_at": iso(lease.expires_at),
                "idle_since": iso(lease.idle_since),
                "reclaim_at": iso(lease.reclaim_at),
                "revocation": revocation_view(lease.revocation),
            }
            for lease in (leases[each] for each in record.lease_ids if each in leases)
        ],
    }


async def whole_device_view(service: Service, uuid: str) -> Json:
    """The same with its slots, what it did of late, and what the configuration says of it.

    Raises NotFound.
    """
    now = service.now()
    snapshot, holders, faults = await asyncio.to_thread(
        lambda: (
            service.ledger.snapshot(now),
            service.ledger.slot_holders(uuid),
            known_faults(service.ledger),
        )
    )
    record = next((each for each in snapshot.devices if each.device.uuid == uuid), None)
    if record is None:
        raise NotFound(_("There is no such device."))
    leases = {lease.id: lease for lease in snapshot.leases}
    series = service.samples.series(uuid, now)
    held = {each.slot: each.lease_id for each in holders}
    servers = by_container(snapshot.leases, service.monitor.health.containers)
    return {
        **device_view(record, leases),
        "driver_version": record.device.driver_version,
        "cuda_version": record.device.cuda_version,
        "last_seen": record.last_seen.isoformat(),
        "configured_slots": configured(snapshot.policy.pool_of(uuid)),
        # somebody may hold one of more slots than there are since the configuration changed
        "slot_leases": [
            held.get(number) for number in range(max([record.device.slots - 1, *held]) + 1)
        ],
        "samples": {
            "until": series.until.isoformat(),
            "step_seconds": series.step_seconds,
            "utilization_percent": list(series.utilization_percent),
            "memory_used_bytes": list(series.memory_used_bytes),
        },
        "processes": processes_of(service.monitor.seen().get(uuid), servers),
        "xids": device_xids(record.device, service.recent_xids(), faults),
    }


def _level(score: int) -> Link:
    return max((level for level in Link if level <= score), default=Link.OTHER_SOCKET)


async def devices_view(service: Service) -> list[Json]:
    """All devices ever seen."""
    snapshot = await asyncio.to_thread(service.ledger.snapshot, service.now())
    by_id = {lease.id: lease for lease in snapshot.leases}
    return [device_view(record, by_id) for record in snapshot.devices]


async def queue_view(service: Service) -> list[Json]:
    """Who waits, first to be served first."""
    snapshot = await asyncio.to_thread(service.ledger.snapshot, service.now())
    return await asyncio.to_thread(_queue, snapshot)


def _queue(snapshot: Snapshot) -> list[Json]:
    line = line_up(snapshot)
    reservations = decide(snapshot).reservations
    placed = {place.entry.sequence for place in line}
    passed_over = [each for each in snapshot.queue if each.sequence not in placed]
    rows: list[Json] = []
    for place, entry in [
        *((place, place.entry) for place in line),
        *((None, entry) for entry in passed_over),
    ]:
        reservation = reservations.get((entry.request.user, entry.request.server))
        rows.append(
            {
                **place_view(place, len(line), entry),
                **_wish(entry, snapshot),
                "reserved": list(reservation.device_uuids) if reservation is not None else [],
            }
        )
    return rows


def _wish(entry: QueueEntry, snapshot: Snapshot) -> Json:
    request = entry.request
    return {
        "user": request.user,
        "server": request.server,
        "model": request.model,
        "min_memory_bytes": request.min_memory_bytes,
        "share": request.share,
        "priority": request.priority,
        "groups": list(request.groups),
        "interrupted": bool(snapshot.run) and entry.waiter != snapshot.run,
    }


def lease_view(lease: Lease) -> Json:
    """A lease for those who may see all."""
    return {
        "id": lease.id,
        "user": lease.user,
        "server": lease.server,
        "state": lease.state.value,
        "devices": list(lease.device_uuids),
        "shared": lease.shared,
        "groups": list(lease.groups),
        "granted_at": lease.granted_at.isoformat(),
        "expires_at": iso(lease.expires_at),
        "extensions": lease.extensions,
        "ended_at": iso(lease.ended_at),
        "end_reason": lease.end_reason,
        "container_id": lease.container_id,
    }


def whole_lease_view(lease: Lease) -> Json:
    """The same with what its end is made of: the earliest of these."""
    return {
        **lease_view(lease),
        "ends": {
            "term": iso(lease.term_until),
            "drain": iso(lease.drain_until),
            "revocation": revocation_view(lease.revocation),
        },
    }


def health_view(entry: DeviceHealth) -> Json:
    """A change of a device's state, in the reader's language."""
    return {
        "at": entry.at.isoformat(),
        "state": entry.state.value,
        "reason": device_reason(entry.reason),
    }


def audit_view(entry: AuditEntry) -> Json:
    """A line of the audit trail."""
    return {
        "number": entry.number,
        "at": entry.at.isoformat(),
        "actor": entry.actor,
        "action": entry.action,
        "lease": entry.lease_id,
        "detail": entry.detail,
        "user": entry.user,
        "server": entry.server,
        "device": entry.device,
        "group": entry.group,
        "reason": entry.reason,
    }
