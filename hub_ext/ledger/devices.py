"""Devices as the ledger knows them. An inventory never deletes a device and never frees a lease.

Guarantees:

- a device's mode (exclusive, or shared with so many slots) comes from the policy or an admin, and
  does not change while somebody holds it (slots.py);
- whoever holds a device that fell ill, or is well again, gets a notice in the same transaction;
- each change of state and each word of an admin is in the audit trail.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from operator import itemgetter
from typing import Any

from sqlalchemy import Connection, Row, bindparam, insert, select, update

from ..audit_actions import Action
from ..errors import NotFound
from ..i18n import N_
from ..models import (
    EPOCH,
    Cordon,
    Device,
    DeviceChange,
    DeviceRecord,
    DeviceState,
    Lease,
    NoticeKind,
)
from ..policy import ALL_DEVICES, Policy, Pool
from . import audit, device_health, facts, leases, notices, slots
from .kept_rows import Kept, KeptRows
from .tables import device, lease, slot
from .texts import links, links_text

NOT_FOUND = N_("not found by the last inventory")


def record(
    connection: Connection, found: Iterable[Device], now: datetime, actor: str
) -> tuple[DeviceChange, ...]:
    """Store what an inventory found; a device that it did not find becomes MISSING.

    Gives the changes of state. Raises ValueError if two of them have the same UUID.
    """
    known = {row.uuid: row for row in connection.execute(select(device))}
    held_by = holders(connection)
    pools = _Pools(facts.policy(connection))
    seen: set[str] = set()
    new: list[dict[str, Any]] = []
    changed: list[dict[str, Any]] = []
    same: list[dict[str, Any]] = []
    changes: list[DeviceChange] = []

    def note(uuid: str, name: str, after: DeviceState, reason: str) -> None:
        before = DeviceState(known[uuid].state) if uuid in known else None
        if before is not after:
            holding = tuple(held_by.get(uuid, ()))
            changes.append(DeviceChange(uuid, name, before, after, reason, holding))

    for item in found:
        if item.uuid in seen:
            raise ValueError(f"The inventory names the device {item.uuid} twice.")
        seen.add(item.uuid)
        state = DeviceState.HEALTHY if item.healthy else DeviceState.QUARANTINED
        row = known.get(item.uuid)
        mode = slots.mode(row, pools.of(item.uuid), item.uuid in held_by)
        values = _values(item, state) | mode
        note(item.uuid, item.name, state, values["reason"])
        if row is not None:
            slots.note_end(connection, row, mode, now, actor)
        if row is None:
            new.append({"uuid": item.uuid, "last_seen": now, **values})
        elif any(getattr(row, name) != value for name, value in values.items()):
            changed.append({"uuid": item.uuid, "last_seen": now, **values})
        else:
            same.append({"uuid": item.uuid, "last_seen": now})
    for uuid, row in known.items():
        if uuid not in seen and row.state != DeviceState.MISSING:
            lost = {"state": DeviceState.MISSING.value, "reason": NOT_FOUND}
            connection.execute(update(device).where(device.c.uuid == uuid).values(**lost))
            note(uuid, row.name, DeviceState.MISSING, NOT_FOUND)
    if new:
        connection.execute(insert(device), new)
    _update(connection, changed)
    _update(connection, same)
    for change in changes:
        _tell(connection, change, now, actor)
    return tuple(changes)


def _update(connection: Connection, rows: list[dict[str, Any]]) -> None:
    """Set the same columns of many devices, each row naming its `uuid`."""
    if rows:
        columns = [name for name in rows[0] if name != "uuid"]
        connection.execute(
            update(device)
            .where(device.c.uuid == bindparam("new_uuid"))
            .values({name: bindparam(f"new_{name}") for name in columns}),
            [{f"new_{name}": value for name, value in row.items()} for row in rows],
        )


class _Pools:
    """Policy.pool_of for thousands of devices."""

    def __init__(self, policy: Policy) -> None:
        self._named: dict[str, Pool] = {}
        self._rest: Pool | None = None
        for pool in policy.pools:
            for uuid in pool.devices:
                if uuid == ALL_DEVICES:
                    self._rest = self._rest or pool
                else:
                    self._named.setdefault(uuid, pool)

    def of(self, uuid: str) -> Pool | None:
        return self._named.get(uuid, self._rest)


def _values(item: Device, state: DeviceState) -> dict[str, Any]:
    return {
        "name": item.name,
        "memory_bytes": item.memory_bytes,
        "simulated": item.simulated,
        "driver_version": item.driver_version,
        "cuda_version": item.cuda_version,
        "state": state.value,
        "reason": "" if item.healthy else item.reason,
        "parent": item.parent,
        "numa_node": item.numa_node,
        "links": links_text(item.links),
    }


def _tell(connection: Connection, change: DeviceChange, now: datetime, actor: str) -> None:
    well = change.after is DeviceState.HEALTHY
    reason = "" if well else change.reason
    device_health.note(connection, change.uuid, change.after, reason, now)
    detail = f"{change.uuid} is {change.after.value}" + (f": {reason}" if reason else "")
    audit.write(
        connection,
        at=now,
        actor=actor,
        action=Action.DEVICE,
        detail=detail,
        device=change.uuid,
        reason=reason,
    )
    was_well = change.before in (None, DeviceState.HEALTHY)
    if not change.lease_ids or was_well == well:
        return
    told = {"device": change.uuid, "name": change.name}
    kind = NoticeKind.DEVICE_BACK if well else NoticeKind.DEVICE_QUARANTINED
    if not well:
        told["reason"] = reason
    for each in leases.on_device(connection, change.uuid):
        notices.add(connection, each.user, each.server, kind, told, now, actor)


def cordon(
    connection: Connection, uuid: str, said: Cordon, reason: str, now: datetime, actor: str
) -> None:
    """Set or lift (Cordon.NONE) what an admin says of a device. Raises NotFound.

    Lifting a drain gives its leases the end of their term back.
    """
    before = _cordon_of(connection, uuid)
    kept = reason if said is not Cordon.NONE else ""
    if before == (said.value, kept):
        return
    _set_cordon(connection, uuid, said, kept, now, actor, _ACTIONS[said])
    if before[0] == Cordon.DRAINING.value and said is not Cordon.DRAINING:
        for each in leases.on_device(connection, uuid):
            notices.forget(connection, each.user, each.server, NoticeKind.DRAINING, uuid)
            if not is_draining(connection, each.device_uuids):
                connection.execute(
                    update(lease).where(lease.c.id == each.id).values(drain_until=None)
                )


_ACTIONS = {
    Cordon.NONE: Action.UNCORDON,
    Cordon.CORDONED: Action.CORDON,
    Cordon.DRAINING: Action.DRAIN,
}


def drain(
    connection: Connection, uuid: str, until: datetime, reason: str, now: datetime, actor: str
) -> tuple[Lease, ...]:
    """No new leases, and those there are end by `until`; gives them. Raises NotFound."""
    name = _name_of(connection, uuid)
    words = f"drain until {until:%Y-%m-%d %H:%M:%S %Z}"
    _set_cordon(connection, uuid, Cordon.DRAINING, reason, now, actor, Action.DRAIN, words)
    for each in leases.on_device(connection, uuid):
        if each.expires_at is None or until < each.expires_at:
            leases.change(
                connection,
                each.id,
                now,
                actor,
                Action.SHORTEN,
                f"{words}: {reason}",
                reason,
                drain_until=until,
            )
        detail = {"device": uuid, "name": name, "reason": reason, "until": until.isoformat()}
        notices.forget(connection, each.user, each.server, NoticeKind.DRAINING, uuid)
        notices.add(connection, each.user, each.server, NoticeKind.DRAINING, detail, now, actor)
    return leases.on_device(connection, uuid)


def is_draining(connection: Connection, uuids: Collection[str]) -> bool:
    """Whether one of these devices is."""
    query = select(device.c.uuid).where(
        device.c.uuid.in_(list(uuids)), device.c.cordon == Cordon.DRAINING.value
    )
    return connection.execute(query.limit(1)).first() is not None


def _set_cordon(
    connection: Connection,
    uuid: str,
    said: Cordon,
    reason: str,
    now: datetime,
    actor: str,
    action: Action,
    words: str = "",
) -> None:
    connection.execute(
        update(device).where(device.c.uuid == uuid).values(cordon=said.value, cordon_reason=reason)
    )
    detail = ": ".join(part for part in (uuid, words, reason) if part)
    audit.write(
        connection,
        at=now,
        actor=actor,
        action=action,
        detail=detail,
        device=uuid,
        reason=reason,
    )


def _cordon_of(connection: Connection, uuid: str) -> tuple[str, str]:
    row = connection.execute(
        select(device.c.cordon, device.c.cordon_reason).where(device.c.uuid == uuid)
    ).one_or_none()
    if row is None:
        raise NotFound(f"There is no device {uuid}.")
    return row.cordon, row.cordon_reason


def _name_of(connection: Connection, uuid: str) -> str:
    name = connection.execute(select(device.c.name).where(device.c.uuid == uuid)).scalar()
    if name is None:
        raise NotFound(f"There is no device {uuid}.")
    return str(name)


def read(connection: Connection, uuids: Collection[str] | None = None) -> tuple[DeviceRecord, ...]:
    """All devices ever seen (or these), in order of UUID, with the leases that hold them."""
    query = select(device).order_by(device.c.uuid)
    if uuids is not None:
        query = query.where(device.c.uuid.in_(list(uuids)))
    held_by = holders(connection)
    return tuple(
        [
            replace(
                _record(row),
                lease_ids=tuple(held_by.get(row.uuid, ())),
                last_seen=row.last_seen,
            )
            for row in connection.execute(query).all()
        ]
    )


@dataclass(frozen=True, slots=True)
class DeviceRows:
    """All devices ever seen, in order of UUID; by UUID."""

    rows: Kept[DeviceRecord] = field(default_factory=Kept)  # without their leases
    last_seen: Mapping[str, datetime] = field(default_factory=dict)


def rows_again(connection: Connection, last: DeviceRows) -> DeviceRows:
    """The devices as they are now, without the leases that hold them."""
    seen = connection.execute(select(device.c.uuid, device.c.last_seen)).all()
    return DeviceRows(_rows.read(connection, last.rows), dict(seen))


def with_holders(
    found: DeviceRows,
    holders: Mapping[str, Sequence[str]],
    last: DeviceRows,
    before: Mapping[str, DeviceRecord],
) -> dict[str, DeviceRecord]:
    """With the leases that hold them; those of `before` where nothing changed since `last`.

    In order of UUID as Python has it: a database's may be that of a language.
    """
    records: dict[str, DeviceRecord] = {}
    for uuid, row in sorted(found.rows.things.items(), key=itemgetter(0)):
        lease_ids = tuple(holders.get(uuid, ()))
        last_seen = found.last_seen[uuid]
        known = before.get(uuid)
        if (
            known is None
            or known.lease_ids != lease_ids
            or known.last_seen != last_seen
            or last.rows.things[uuid] is not row
        ):
            known = replace(row, lease_ids=lease_ids, last_seen=last_seen)
        records[uuid] = known
    return records


def holders(connection: Connection) -> dict[str, list[str]]:
    """By device, the leases that hold it, in order of slot."""
    found: dict[str, list[str]] = defaultdict(list)
    for device_uuid, lease_id in connection.execute(
        select(slot.c.device_uuid, slot.c.lease_id).order_by(slot.c.device_uuid, slot.c.slot)
    ):
        found[device_uuid].append(lease_id)
    return found


def _record(row: Row[Any]) -> DeviceRecord:
    """Without the leases that hold it, and when it was seen."""
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
            shared=row.shared,
            pool=row.pool,
            parent=row.parent,
            numa_node=row.numa_node,
            links=links(row.links),
        ),
        state=DeviceState(row.state),
        last_seen=EPOCH,
        reason=row.reason,
        cordon=Cordon(row.cordon),
        cordon_reason=row.cordon_reason,
        slots_set=row.slots_set,
    )


_rows = KeptRows(
    device.c.uuid,
    select(*[column for column in device.c if column is not device.c.last_seen]).order_by(
        device.c.uuid
    ),
    _record,
)
