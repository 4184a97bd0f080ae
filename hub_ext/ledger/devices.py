"""Devices as the ledger knows them. An inventory never deletes a device and never frees a lease."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from ..models import Device, DeviceRecord, DeviceState
from . import audit
from .tables import device, slot


def record(connection: Connection, found: Iterable[Device], now: datetime, actor: str) -> None:
    """Store what an inventory found; a device that it did not find becomes MISSING.

    Raises ValueError if two of them have the same UUID.
    """
    known = {row.uuid: row for row in connection.execute(select(device))}
    seen: set[str] = set()
    for item in found:
        if item.uuid in seen:
            raise ValueError(f"The inventory names the device {item.uuid} twice.")
        seen.add(item.uuid)
        state = DeviceState.HEALTHY if item.healthy else DeviceState.QUARANTINED
        values = {
            "name": item.name,
            "memory_bytes": item.memory_bytes,
            "simulated": item.simulated,
            "driver_version": item.driver_version,
            "cuda_version": item.cuda_version,
            "slots": item.slots,
            "state": state.value,
            "reason": "" if item.healthy else item.reason,
            "last_seen": now,
        }
        row = known.get(item.uuid)
        if row is None:
            connection.execute(insert(device).values(uuid=item.uuid, **values))
        else:
            connection.execute(update(device).where(device.c.uuid == item.uuid).values(**values))
        if row is None or row.state != state:
            _audit_state(connection, item.uuid, state, item.reason, now, actor)
    for uuid, row in known.items():
        if uuid not in seen and row.state != DeviceState.MISSING:
            reason = "not found by the last inventory"
            connection.execute(
                update(device)
                .where(device.c.uuid == uuid)
                .values(state=DeviceState.MISSING.value, reason=reason)
            )
            _audit_state(connection, uuid, DeviceState.MISSING, reason, now, actor)


def _audit_state(
    connection: Connection,
    uuid: str,
    state: DeviceState,
    reason: str,
    now: datetime,
    actor: str,
) -> None:
    detail = f"{uuid} is {state.value}" + (
        f": {reason}" if reason and state is not DeviceState.HEALTHY else ""
    )
    audit.write(connection, at=now, actor=actor, action="device", detail=detail)


def read(connection: Connection) -> tuple[DeviceRecord, ...]:
    """All devices ever seen, in order of UUID, with the leases that hold them."""
    holders: dict[str, list[str]] = defaultdict(list)
    for row in connection.execute(select(slot).order_by(slot.c.device_uuid, slot.c.slot)):
        holders[row.device_uuid].append(row.lease_id)
    return tuple(
        _record(row, tuple(holders.get(row.uuid, ())))
        for row in connection.execute(select(device).order_by(device.c.uuid))
    )


def _record(row: Row[Any], lease_ids: tuple[str, ...]) -> DeviceRecord:
    return DeviceRecord(
        device=Device(
            uuid=row.uuid,
            name=row.name,
            memory_bytes=row.memory_bytes,
            simulated=row.simulated,
            driver_version=row.driver_version,
            cuda_version=row.cuda_version,
            slots=row.slots,
            healthy=row.state != DeviceState.QUARANTINED,
            reason=row.reason,
        ),
        state=DeviceState(row.state),
        last_seen=row.last_seen,
        reason=row.reason,
        lease_ids=lease_ids,
    )
