"""Leases: granted -> running -> (held) -> ended, and the slots that they hold.

Guarantees:

- a lease that has not ended holds one slot of each of its devices, an ended one holds none;
- a slot is freed by `end`, by the expiry of a hold whose container is known to be gone, or because
  its server takes up its held lease with fewer devices (grants.py); by nothing else;
- what a device was used is counted in the transaction that frees it;
- each change writes the audit trail.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, delete, select, update

from ..audit_actions import Action
from ..errors import Conflict, NotFound
from ..models import Lease, LeaseState, Revocation
from . import accounting, audit, facts
from .kept_rows import Kept, KeptRows
from .tables import LIVE, lease, lease_device, slot
from .texts import names

NOT_REVOKED: dict[str, Any] = {
    "revoked_at": None,
    "revoke_until": None,
    "revoked_by": "",
    "revoke_reason": "",
}


@dataclass(frozen=True, slots=True)
class Held:
    """A lease, and as how many devices it counts."""

    lease: Lease
    devices: float


def _read(
    connection: Connection, query: Select[Any], *conditions: ColumnElement[bool]
) -> Iterator[Lease]:
    granted = _granted(connection, *conditions)
    for row in connection.execute(query).all():
        devices = granted.get(row.id, [])
        yield _lease(row, tuple([device_uuid for device_uuid, _slots in devices]))


def _granted(
    connection: Connection, *conditions: ColumnElement[bool]
) -> dict[str, list[tuple[str, int]]]:
    """By lease, its devices and into how many slots they are divided."""
    granted: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for lease_id, device_uuid, slots in connection.execute(
        select(lease_device.c.lease_id, lease_device.c.device_uuid, lease_device.c.slots)
        .join(lease)
        .where(lease_device.c.given_back_at.is_(None), *conditions)
        .order_by(lease_device.c.lease_id, lease_device.c.position)
    ).all():
        granted[lease_id].append((device_uuid, slots))
    return granted


def _count(devices: Iterable[tuple[str, int]]) -> float:
    return sum(1.0 / max(slots, 1) for _uuid, slots in devices)


def _lease(row: Row[Any], device_uuids: tuple[str, ...] = ()) -> Lease:
    ends = [at for at in (row.expires_at, row.drain_until, row.revoke_until) if at is not None]
    return Lease(
        id=row.id,
        user=row.user_name,
        server=row.server_name,
        state=LeaseState(row.state),
        device_uuids=device_uuids,
        granted_at=row.granted_at,
        container_id=row.container_id,
        hold_until=row.hold_until,
        ended_at=row.ended_at,
        end_reason=row.end_reason,
        gone_at=row.gone_at,
        shared=row.shared,
        groups=names(row.groups),
        expires_at=min(ends) if ends else None,
        extensions=row.extensions,
        idle_since=row.idle_since,
        reclaim_at=row.reclaim_at,
        revocation=_revocation(row),
        term_until=row.expires_at,
        drain_until=row.drain_until,
    )


def _revocation(row: Row[Any]) -> Revocation | None:
    if row.revoke_until is None:
        return None
    return Revocation(row.revoked_at, row.revoke_until, row.revoked_by, row.revoke_reason)


def read(connection: Connection, *conditions: ColumnElement[bool]) -> tuple[Lease, ...]:
    """Leases that meet the conditions, in order of grant."""
    query = select(lease).where(*conditions).order_by(lease.c.granted_at, lease.c.id)
    return tuple(_read(connection, query, *conditions))


def live(connection: Connection) -> tuple[Lease, ...]:
    """All that have not ended."""
    return read(connection, LIVE)


@dataclass(frozen=True, slots=True)
class LiveLeases:
    """All that have not ended, in order of grant; by id."""

    rows: Kept[Lease] = field(default_factory=Kept)  # without their devices
    granted: Mapping[str, Sequence[tuple[str, int]]] = field(default_factory=dict)
    held: Mapping[str, Held] = field(default_factory=dict)


def live_again(connection: Connection, last: LiveLeases, *, devices_changed: bool) -> LiveLeases:
    """As they are now; the very objects of `last` where nothing changed.

    `devices_changed`: `lease_device` did. Where it did not, a lease may have ended, but has the
    devices that it had.
    """
    rows = _live.read(connection, last.rows)
    granted = _granted(connection, LIVE) if devices_changed else last.granted
    held: dict[str, Held] = {}
    for lease_id, found in rows.things.items():
        devices = granted.get(lease_id, ())
        uuids = tuple([device_uuid for device_uuid, _slots in devices])
        known = last.held.get(lease_id)
        if (
            known is None
            or known.lease.device_uuids != uuids
            or last.rows.things[lease_id] is not found
        ):
            known = Held(replace(found, device_uuids=uuids), _count(devices))
        held[lease_id] = known
    return LiveLeases(rows, granted, held)


def one(connection: Connection, lease_id: str) -> Lease:
    """A lease by its id. Raises NotFound."""
    found = read(connection, lease.c.id == lease_id)
    if not found:
        raise NotFound(f"There is no lease {lease_id}.")
    return found[0]


def unended(connection: Connection, lease_id: str) -> Lease:
    """A lease that has not ended. Raises NotFound, Conflict."""
    found = one(connection, lease_id)
    if found.state is LeaseState.ENDED:
        raise Conflict(f"The lease {lease_id} has ended ({found.end_reason}).")
    return found


def of_server(connection: Connection, user: str, server: str) -> Lease | None:
    """The lease of a server that has not ended."""
    found = read(connection, LIVE, lease.c.user_name == user, lease.c.server_name == server)
    return found[0] if found else None


def on_device(connection: Connection, device_uuid: str) -> tuple[Lease, ...]:
    """The leases that hold a device now."""
    holders = select(slot.c.lease_id).where(slot.c.device_uuid == device_uuid)
    return read(connection, lease.c.id.in_(holders))


def mark_running(
    connection: Connection, lease_id: str, container_id: str, now: datetime, actor: str
) -> Lease:
    """The container answers; the lease as it was before.

    A hold that was given up ends here. Raises Conflict, NotFound.
    """
    found = unended(connection, lease_id)
    if found.state is LeaseState.RUNNING and found.container_id == container_id:
        return found
    change(
        connection,
        lease_id,
        now,
        actor,
        Action.RUN,
        f"container {container_id}",
        state=LeaseState.RUNNING.value,
        container_id=container_id,
        hold_until=None,
        gone_at=None,
    )
    return found


def name_container(
    connection: Connection, lease_id: str, container_id: str, now: datetime, actor: str
) -> None:
    """The container is made, and about to start. Raises Conflict, NotFound."""
    if unended(connection, lease_id).container_id != container_id:
        detail = f"container {container_id}"
        change(connection, lease_id, now, actor, Action.CREATE, detail, container_id=container_id)


def hold(connection: Connection, lease_id: str, until: datetime, now: datetime, actor: str) -> None:
    """Keep the devices for the same server while its container is replaced.

    Raises Conflict if the lease has ended, NotFound.
    """
    unended(connection, lease_id)
    change(
        connection,
        lease_id,
        now,
        actor,
        Action.HOLD,
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
        change(connection, lease_id, now, actor, Action.CONTAINER_GONE, "", gone_at=now)


def end(
    connection: Connection,
    lease_id: str,
    reason: str,
    now: datetime,
    actor: str,
    if_container: str | None = None,
) -> None:
    """Free the devices, and count their use. Idempotent. Raises NotFound."""
    found = one(connection, lease_id)
    if found.state is LeaseState.ENDED or if_container not in (None, found.container_id):
        return
    accounting.write(connection, lease_id, now, facts.policy(connection))
    connection.execute(delete(slot).where(slot.c.lease_id == lease_id))
    change(
        connection,
        lease_id,
        now,
        actor,
        Action.END,
        reason,
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


def change(
    connection: Connection,
    lease_id: str,
    now: datetime,
    actor: str,
    action: Action,
    detail: str,
    reason: str = "",
    **values: Any,
) -> None:
    """Change columns of a lease that there is, and write the audit trail."""
    of = connection.execute(
        update(lease)
        .where(lease.c.id == lease_id)
        .values(**values)
        .returning(lease.c.user_name, lease.c.server_name)
    ).one()
    audit.write(
        connection,
        at=now,
        actor=actor,
        action=action,
        lease_id=lease_id,
        detail=detail,
        user=of.user_name,
        server=of.server_name,
        reason=reason,
    )


_live = KeptRows(
    lease.c.id, select(lease).where(LIVE).order_by(lease.c.granted_at, lease.c.id), _lease
)
