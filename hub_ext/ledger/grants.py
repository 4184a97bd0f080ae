"""Who gets devices: a new lease, or the held one of a server that comes back.

Guarantees: devices are given here only, all of a request's or none; only those that are healthy and
not cordoned, with a slot to spare; a shared request gets slots of shared devices, an exclusive one
whole devices, and never a mix. A held lease that is taken up keeps the end of its term.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from ..audit_actions import Action
from ..errors import Conflict
from ..models import DeviceRecord, DeviceState, Lease, LeaseState, Request, Snapshot
from . import accounting, audit, devices, facts, leases, waiting
from .tables import lease, lease_device, slot
from .texts import names_text

Choose = Callable[[Snapshot], Sequence[str] | None]


def acquire(
    connection: Connection,
    request: Request,
    choose: Choose,
    now: datetime,
    actor: str,
    look: Callable[[Connection, datetime], Snapshot],
) -> Lease | None:
    """Grant a lease, or None if the request has to wait. Raises Conflict, ValueError.

    `look` reads what there is to choose from.
    """
    leases.end_expired(connection, now, actor)
    held = leases.of_server(connection, request.user, request.server)
    if held is not None:
        if held.state is not LeaseState.HELD:
            raise Conflict(
                f"The server {_server(request)} has a lease already ({held.id}, "
                f"{held.state.value}). Stop the server before starting it again."
            )
        if _suffices(connection, held, request):
            return _take_up(connection, held, request, now, actor)
        if held.gone_at is None:
            raise Conflict(
                f"The server {_server(request)} still holds other devices than those asked for, "
                "and its last container is not known to be gone. Try again in a minute."
            )
    attempt = connection.begin_nested()
    if held is not None:
        leases.end(connection, held.id, "replaced: the server asked for other devices", now, actor)
    chosen = choose(look(connection, now))
    if chosen is None:
        attempt.rollback()
        return None
    granted = _grant(connection, request, tuple(chosen), now, actor)
    attempt.commit()
    return granted


def _suffices(connection: Connection, held: Lease, request: Request) -> bool:
    """Whether a held lease can be taken up: enough devices, all healthy and of the kind asked for.

    Surplus devices are given back, which needs proof that no container uses them.
    """
    count = len(held.device_uuids)
    if count < request.gpus or (count > request.gpus and held.gone_at is None):
        return False
    if request.gpus and held.shared != request.share:
        return False
    records = {record.device.uuid: record for record in devices.read(connection)}
    return all(_suits(records[each], request) for each in held.device_uuids)


def _suits(record: DeviceRecord, request: Request) -> bool:
    return (
        record.state is DeviceState.HEALTHY
        and request.model.casefold() in record.device.name.casefold()
        and record.device.memory_bytes >= request.min_memory_bytes
    )


def _take_up(
    connection: Connection, held: Lease, request: Request, now: datetime, actor: str
) -> Lease:
    kept, surplus = held.device_uuids[: request.gpus], held.device_uuids[request.gpus :]
    if surplus:
        policy = facts.policy(connection)
        accounting.write(connection, held.id, now, policy, only=surplus)
        connection.execute(
            delete(slot).where(slot.c.lease_id == held.id, slot.c.device_uuid.in_(surplus))
        )
        connection.execute(
            update(lease_device)
            .where(lease_device.c.lease_id == held.id, lease_device.c.device_uuid.in_(surplus))
            .values(given_back_at=now)
        )
    values: dict[str, Any] = {}
    if not kept:
        values = {"expires_at": None, "shared": False, **leases.NOT_REVOKED}
    leases.change(
        connection,
        held.id,
        now,
        actor,
        Action.TAKE_UP,
        f"{_server(request)}: {_names(kept)}"
        + (f"; gave back {_names(surplus)}" if surplus else ""),
        state=LeaseState.GRANTED.value,
        container_id="",
        hold_until=None,
        gone_at=None,
        idle_since=None,
        reclaim_at=None,
        **values,
    )
    waiting.remove(connection, request.user, request.server)
    return leases.one(connection, held.id)


def _grant(
    connection: Connection, request: Request, chosen: tuple[str, ...], now: datetime, actor: str
) -> Lease:
    if len(chosen) != request.gpus or len(set(chosen)) != len(chosen):
        raise ValueError(f"{request.gpus} devices were asked for, the policy chose {chosen}.")
    share = request.share and request.gpus > 0
    term = request.term if chosen else None
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
            shared=share,
            groups=names_text(request.groups),
            expires_at=None if term is None else now + term,
        )
    )
    if chosen:
        _take_slots(connection, lease_id, chosen, share)
    waiting.remove(connection, request.user, request.server)
    audit.write(
        connection,
        at=now,
        actor=actor,
        action=Action.GRANT,
        lease_id=lease_id,
        detail=f"{_server(request)}: {_names(chosen)}",
        user=request.user,
        server=request.server,
    )
    return leases.one(connection, lease_id)


def _take_slots(
    connection: Connection, lease_id: str, chosen: tuple[str, ...], share: bool
) -> None:
    taken: dict[str, set[int]] = defaultdict(set)
    for row in connection.execute(
        select(slot.c.device_uuid, slot.c.slot).where(slot.c.device_uuid.in_(chosen))
    ):
        taken[row.device_uuid].add(row.slot)
    records = {record.device.uuid: record for record in devices.read(connection, chosen)}
    for position, device_uuid in enumerate(chosen):
        record = records.get(device_uuid)
        if record is None or not record.free_slots:
            raise ValueError(f"The policy chose {device_uuid}, which is not free.")
        if record.device.shared != share:
            raise ValueError(
                f"The policy chose {device_uuid}, which is "
                f"{'shared' if record.device.shared else 'exclusive'}; the request asked for "
                f"{'a slot of a shared' if share else 'an exclusive'} device."
            )
        number = min(set(range(record.device.slots)) - taken[device_uuid])
        connection.execute(
            insert(slot).values(
                device_uuid=device_uuid, slot=number, lease_id=lease_id, shared=share
            )
        )
        connection.execute(
            insert(lease_device).values(
                lease_id=lease_id,
                position=position,
                device_uuid=device_uuid,
                slots=record.device.slots,
            )
        )


def _server(request: Request) -> str:
    return f"{request.user}/{request.server}" if request.server else request.user


def _names(uuids: Sequence[str]) -> str:
    return ", ".join(uuids) or "no devices"
