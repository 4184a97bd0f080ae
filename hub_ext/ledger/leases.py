"""Leases: granted -> running -> (held) -> ended, and the slots that they hold.

Guarantees:

- a lease that has not ended holds one slot of each of its devices, an ended one holds none;
- a slot is freed by `end`, by the expiry of a hold whose container is known to be gone, or because
  its server takes up its held lease with fewer devices; by nothing else;
- devices are given by `acquire` only, all of a request's or none, and only healthy ones;
- each change writes the audit trail.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, delete, insert, select, update

from ..errors import Conflict, NotFound
from ..models import DeviceState, Lease, LeaseState, Request, Snapshot
from . import audit, devices, waiting
from .tables import lease, lease_device, slot

Choose = Callable[[Snapshot], Sequence[str] | None]

_LIVE = lease.c.state != LeaseState.ENDED.value


def snapshot(connection: Connection) -> Snapshot:
    """Devices, queue and live leases as one transaction sees them."""
    return Snapshot(
        devices=devices.read(connection),
        queue=waiting.read(connection),
        leases=read(connection, _LIVE),
    )


def read(connection: Connection, *conditions: ColumnElement[bool]) -> tuple[Lease, ...]:
    """Leases that meet the conditions, in order of grant."""
    granted: dict[str, list[str]] = defaultdict(list)
    for row in connection.execute(
        select(lease_device.c.lease_id, lease_device.c.device_uuid)
        .join(lease)
        .where(*conditions)
        .order_by(lease_device.c.lease_id, lease_device.c.position)
    ):
        granted[row.lease_id].append(row.device_uuid)
    rows = connection.execute(
        select(lease).where(*conditions).order_by(lease.c.granted_at, lease.c.id)
    )
    return tuple(
        Lease(
            id=row.id,
            user=row.user_name,
            server=row.server_name,
            state=LeaseState(row.state),
            device_uuids=tuple(granted.get(row.id, ())),
            granted_at=row.granted_at,
            container_id=row.container_id,
            hold_until=row.hold_until,
            ended_at=row.ended_at,
            end_reason=row.end_reason,
            gone_at=row.gone_at,
        )
        for row in rows
    )


def live(connection: Connection) -> tuple[Lease, ...]:
    """All that have not ended."""
    return read(connection, _LIVE)


def one(connection: Connection, lease_id: str) -> Lease:
    """A lease by its id. Raises NotFound."""
    found = read(connection, lease.c.id == lease_id)
    if not found:
        raise NotFound(f"There is no lease {lease_id}.")
    return found[0]


def of_server(connection: Connection, user: str, server: str) -> Lease | None:
    """The lease of a server that has not ended."""
    found = read(connection, _LIVE, lease.c.user_name == user, lease.c.server_name == server)
    return found[0] if found else None


def acquire(
    connection: Connection, request: Request, choose: Choose, now: datetime, actor: str
) -> Lease | None:
    """Grant a lease, or None if the request has to wait. Raises Conflict, ValueError."""
    end_expired(connection, now, actor)
    held = of_server(connection, request.user, request.server)
    if held is not None:
        if held.state is not LeaseState.HELD:
            raise Conflict(
                f"The server {_server(request)} has a lease already ({held.id}, "
                f"{held.state.value}). Stop the server before starting it again."
            )
        if _suffices(connection, held, request.gpus):
            return _take_up(connection, held, request, now, actor)
        if held.gone_at is None:
            raise Conflict(
                f"The server {_server(request)} still holds other devices than those asked for, "
                "and its last container is not known to be gone. Try again in a minute."
            )
    attempt = connection.begin_nested()
    if held is not None:
        end(connection, held.id, "replaced: the server asked for other devices", now, actor)
    chosen = choose(snapshot(connection))
    if chosen is None:
        attempt.rollback()
        return None
    granted = _grant(connection, request, tuple(chosen), now, actor)
    attempt.commit()
    return granted


def _suffices(connection: Connection, held: Lease, gpus: int) -> bool:
    """Whether a held lease can be taken up: enough devices, all of them healthy.

    Surplus devices are given back, which needs proof that no container uses them.
    """
    healthy = {r.device.uuid for r in devices.read(connection) if r.state is DeviceState.HEALTHY}
    if not healthy.issuperset(held.device_uuids) or len(held.device_uuids) < gpus:
        return False
    return len(held.device_uuids) == gpus or held.gone_at is not None


def _take_up(
    connection: Connection, held: Lease, request: Request, now: datetime, actor: str
) -> Lease:
    surplus = held.device_uuids[request.gpus :]
    for table in (slot, lease_device):
        connection.execute(
            delete(table).where(table.c.lease_id == held.id, table.c.device_uuid.in_(surplus))
        )
    connection.execute(
        update(lease)
        .where(lease.c.id == held.id)
        .values(
            state=LeaseState.GRANTED.value,
            granted_at=now,
            container_id="",
            hold_until=None,
            gone_at=None,
        )
    )
    waiting.remove(connection, request.user, request.server)
    kept = held.device_uuids[: request.gpus]
    audit.write(
        connection,
        at=now,
        actor=actor,
        action="take up",
        lease_id=held.id,
        detail=f"{_server(request)}: {_names(kept)}"
        + (f"; gave back {_names(surplus)}" if surplus else ""),
    )
    return one(connection, held.id)


def _grant(
    connection: Connection, request: Request, chosen: tuple[str, ...], now: datetime, actor: str
) -> Lease:
    if len(chosen) != request.gpus or len(set(chosen)) != len(chosen):
        raise ValueError(f"{request.gpus} devices were asked for, the policy chose {chosen}.")
    lease_id = uuid.uuid4().hex
    connection.execute(
        insert(lease).values(
            id=lease_id,
            user_name=request.user,
            server_name=request.server,
            state=LeaseState.GRANTED.value,
            granted_at=now,
            container_id="",
            end_reason="",
        )
    )
    places = _free_slots(connection)
    for position, device_uuid in enumerate(chosen):
        free = places.get(device_uuid)
        if free is None:
            raise ValueError(f"The policy chose {device_uuid}, which is not free.")
        connection.execute(
            insert(slot).values(device_uuid=device_uuid, slot=free, lease_id=lease_id)
        )
        connection.execute(
            insert(lease_device).values(
                lease_id=lease_id, position=position, device_uuid=device_uuid
            )
        )
    waiting.remove(connection, request.user, request.server)
    audit.write(
        connection,
        at=now,
        actor=actor,
        action="grant",
        lease_id=lease_id,
        detail=f"{_server(request)}: {_names(chosen)}",
    )
    return one(connection, lease_id)


def _free_slots(connection: Connection) -> dict[str, int]:
    """The lowest free slot of each healthy device that has one."""
    taken: dict[str, set[int]] = defaultdict(set)
    for row in connection.execute(select(slot.c.device_uuid, slot.c.slot)):
        taken[row.device_uuid].add(row.slot)
    free: dict[str, int] = {}
    for record in devices.read(connection):
        if record.state is not DeviceState.HEALTHY:
            continue
        numbers = set(range(record.device.slots)) - taken[record.device.uuid]
        if numbers:
            free[record.device.uuid] = min(numbers)
    return free


def mark_running(
    connection: Connection, lease_id: str, container_id: str, now: datetime, actor: str
) -> None:
    """The container answers. A hold that was given up ends here. Raises Conflict, NotFound."""
    found = one(connection, lease_id)
    if found.state is LeaseState.ENDED:
        raise Conflict(f"The lease {lease_id} has ended ({found.end_reason}).")
    if found.state is LeaseState.RUNNING and found.container_id == container_id:
        return
    _change(
        connection,
        lease_id,
        now,
        actor,
        "run",
        f"container {container_id}",
        state=LeaseState.RUNNING.value,
        container_id=container_id,
        hold_until=None,
        gone_at=None,
    )


def hold(connection: Connection, lease_id: str, until: datetime, now: datetime, actor: str) -> None:
    """Keep the devices for the same server while its container is replaced.

    Raises Conflict if the lease has ended, NotFound.
    """
    found = one(connection, lease_id)
    if found.state is LeaseState.ENDED:
        raise Conflict(f"The lease {lease_id} has ended ({found.end_reason}).")
    _change(
        connection,
        lease_id,
        now,
        actor,
        "hold",
        f"until {until:%Y-%m-%d %H:%M:%S %Z}",
        state=LeaseState.HELD.value,
        hold_until=until,
    )


def mark_gone(connection: Connection, lease_id: str, now: datetime, actor: str) -> None:
    """The Engine says that a held lease's container is gone, so its hold may expire.

    Only a HELD lease is changed; others are ended by `end`. Raises NotFound.
    """
    found = one(connection, lease_id)
    if found.state is LeaseState.HELD and found.gone_at is None:
        _change(connection, lease_id, now, actor, "container gone", "", gone_at=now)


def end(connection: Connection, lease_id: str, reason: str, now: datetime, actor: str) -> None:
    """Free the devices. Idempotent. Raises NotFound."""
    if one(connection, lease_id).state is LeaseState.ENDED:
        return
    connection.execute(delete(slot).where(slot.c.lease_id == lease_id))
    _change(
        connection,
        lease_id,
        now,
        actor,
        "end",
        reason,
        state=LeaseState.ENDED.value,
        hold_until=None,
        ended_at=now,
        end_reason=reason,
    )


def expired(connection: Connection, now: datetime) -> tuple[str, ...]:
    """Held leases whose time is over and whose container is known to be gone."""
    return tuple(
        connection.execute(
            select(lease.c.id).where(
                lease.c.state == LeaseState.HELD.value,
                lease.c.hold_until <= now,
                lease.c.gone_at.is_not(None),
            )
        ).scalars()
    )


def end_expired(connection: Connection, now: datetime, actor: str) -> None:
    """End them."""
    for lease_id in expired(connection, now):
        end(connection, lease_id, "hold expired", now, actor)


def _change(
    connection: Connection,
    lease_id: str,
    now: datetime,
    actor: str,
    action: str,
    detail: str,
    **values: Any,
) -> None:
    connection.execute(update(lease).where(lease.c.id == lease_id).values(**values))
    audit.write(connection, at=now, actor=actor, action=action, lease_id=lease_id, detail=detail)


def _server(request: Request) -> str:
    return f"{request.user}/{request.server}" if request.server else request.user


def _names(uuids: Sequence[str]) -> str:
    return ", ".join(uuids) or "no devices"
