"""Into how many slots a device is divided: as configured, or as an admin said since.

Guarantees:

- an admin divides a device anew only while nobody holds it; what the configuration changes of one
  that is in use is the number of slots of a shared device, which takes no slot away from anybody;
- an admin's word outlives restarts of hub and service, and ends when the configuration says another
  number for that device than it did then: the later word counts;
- each of both is in the audit trail.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, select, update

from ..audit_actions import Action
from ..errors import Conflict, NotFound
from ..i18n import _
from ..policy import Pool
from . import audit, facts
from .tables import device, slot


@dataclass(frozen=True, slots=True)
class SlotHolder:
    """Who holds one slot of a device."""

    slot: int
    lease_id: str


def configured(pool: Pool | None) -> int:
    """What the configuration says of a device of this pool."""
    return pool.slots if pool is not None and pool.shared else 1


def mode(row: Row[Any] | None, pool: Pool | None, in_use: bool) -> dict[str, Any]:
    """A device's columns about its slots; `row` is what is known of it, None: it is new."""
    usual = configured(pool)
    said: dict[str, int | None] = {"slots_set": None, "slots_configured": None}
    if row is not None and row.slots_set is not None and row.slots_configured == usual:
        said = {"slots_set": row.slots_set, "slots_configured": usual}
    slots = said["slots_set"] or usual
    shared = slots > 1
    if row is not None and in_use and row.shared != shared:
        # when it is free, the next inventory changes it
        return {"shared": row.shared, "slots": row.slots, "pool": row.pool, **said}
    return {
        "shared": shared,
        "slots": slots,
        "pool": pool.name if pool is not None else "",
        **said,
    }


def note_end(
    connection: Connection, row: Row[Any], values: dict[str, Any], now: datetime, actor: str
) -> None:
    """An admin's word that ends by a change of the configuration is in the audit trail."""
    if row.slots_set is not None and values["slots_set"] is None:
        detail = f"{row.uuid}: as configured, no longer {row.slots_set}"
        audit.write(
            connection,
            at=now,
            actor=actor,
            action=Action.DEVICE_SLOTS,
            detail=detail,
            device=row.uuid,
        )


def divide(
    connection: Connection, uuid: str, slots: int | None, reason: str, now: datetime, actor: str
) -> None:
    """Divide a device into so many slots (1: exclusive; None: as configured).

    Raises NotFound, and Conflict while somebody holds it. What is so already changes nothing.
    """
    row = connection.execute(select(device).where(device.c.uuid == uuid)).one_or_none()
    if row is None:
        raise NotFound(f"There is no device {uuid}.")
    usual = configured(facts.policy(connection).pool_of(uuid))
    wanted = usual if slots is None else slots
    said: dict[str, int | None] = {"slots_set": None, "slots_configured": None}
    if wanted != usual:
        said = {"slots_set": wanted, "slots_configured": usual}
    if (row.slots, row.slots_set) == (wanted, said["slots_set"]):
        return
    if holders(connection, uuid):
        raise Conflict(
            _(
                "Somebody holds this device, so it cannot be divided otherwise. Drain it, and do "
                "this when it is free."
            )
        )
    connection.execute(
        update(device).where(device.c.uuid == uuid).values(slots=wanted, shared=wanted > 1, **said)
    )
    words = f"{row.slots} to {wanted}" + (" (as configured)" if wanted == usual else "")
    detail = ": ".join(part for part in (uuid, words, reason) if part)
    audit.write(
        connection,
        at=now,
        actor=actor,
        action=Action.DEVICE_SLOTS,
        detail=detail,
        device=uuid,
        reason=reason,
    )


def holders(connection: Connection, uuid: str) -> tuple[SlotHolder, ...]:
    """Who holds which slot of a device, in order of slot."""
    rows = connection.execute(
        select(slot.c.slot, slot.c.lease_id).where(slot.c.device_uuid == uuid).order_by(slot.c.slot)
    )
    return tuple(SlotHolder(row.slot, row.lease_id) for row in rows)
