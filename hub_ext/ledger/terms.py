"""The end of a lease's term, and what is noted while its devices do nothing."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, update

from ..errors import Conflict
from ..i18n import _
from ..models import LeaseState
from . import devices, leases
from .tables import lease


def extend(
    connection: Connection,
    lease_id: str,
    until: datetime,
    now: datetime,
    actor: str,
    *,
    by_user: bool,
) -> None:
    """A later end. Raises NotFound, and Conflict if it ended, has no end, or may not go on."""
    found = leases.unended(connection, lease_id)
    if devices.is_draining(connection, found.device_uuids):
        raise Conflict(_("A device of this lease is taken out of use, so it cannot be extended."))
    if found.expires_at is None:
        raise Conflict(_("This lease has no end, so there is nothing to extend."))
    if until <= found.expires_at:
        raise Conflict(
            _("This lease lasts until {time} UTC already.").format(
                time=f"{found.expires_at:%Y-%m-%d %H:%M}"
            )
        )
    leases.change(
        connection,
        lease_id,
        now,
        actor,
        "extend",
        f"until {until:%Y-%m-%d %H:%M:%S %Z}" + ("" if by_user else ", as nobody waits"),
        expires_at=until,
        extensions=found.extensions + 1 if by_user else found.extensions,
    )


def shorten(
    connection: Connection,
    lease_id: str,
    until: datetime,
    now: datetime,
    actor: str,
    reason: str,
) -> None:
    """An earlier end; one that is not earlier changes nothing, nor does a lease that ended."""
    found = leases.one(connection, lease_id)
    if found.state is LeaseState.ENDED:
        return
    if found.expires_at is None or until < found.expires_at:
        detail = f"until {until:%Y-%m-%d %H:%M:%S %Z}: {reason}"
        leases.change(connection, lease_id, now, actor, "shorten", detail, expires_at=until)


def mark_idle(
    connection: Connection,
    lease_id: str,
    since: datetime | None,
    reclaim_at: datetime | None,
    now: datetime,
    actor: str,
) -> None:
    """Since when the devices do nothing, and when they are taken back if it stays so.

    A lease that ended is left alone. Only a change of `reclaim_at` is for the audit trail.
    """
    found = leases.one(connection, lease_id)
    if found.state is LeaseState.ENDED:
        return
    values = {"idle_since": since, "reclaim_at": reclaim_at}
    if found.reclaim_at == reclaim_at:
        if found.idle_since != since:
            connection.execute(update(lease).where(lease.c.id == lease_id).values(**values))
        return
    detail = f"{reclaim_at:%Y-%m-%d %H:%M:%S %Z}" if reclaim_at is not None else "not any more"
    leases.change(connection, lease_id, now, actor, "reclaim", detail, **values)
