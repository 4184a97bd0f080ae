"""The states that devices were in: a line for each change, in the transaction of the change."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, delete, insert, select

from ..errors import NotFound
from ..models import DeviceHealth, DeviceState
from .tables import device, device_health


def note(connection: Connection, uuid: str, state: DeviceState, reason: str, at: datetime) -> None:
    """The device, which the ledger knows, is in this state from now on."""
    connection.execute(
        insert(device_health).values(device_uuid=uuid, at=at, state=state.value, reason=reason)
    )


def read(
    connection: Connection, uuid: str, limit: int, before: int | None
) -> tuple[DeviceHealth, ...]:
    """At most `limit` changes, the latest first; `before` is the number of one. NotFound."""
    if connection.execute(select(device.c.uuid).where(device.c.uuid == uuid)).first() is None:
        raise NotFound(f"There is no device {uuid}.")
    line = device_health.c
    query = select(device_health).where(line.device_uuid == uuid).order_by(line.id.desc())
    if before is not None:
        query = query.where(line.id < before)
    return tuple(
        DeviceHealth(row.id, row.at, DeviceState(row.state), row.reason)
        for row in connection.execute(query.limit(limit))
    )


def forget_old(connection: Connection, before: datetime) -> None:
    """Delete what is older."""
    connection.execute(delete(device_health).where(device_health.c.at < before))
