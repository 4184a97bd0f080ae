"""The end of a lease's term, whoever moves it, and what is noted while its devices do nothing."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, update

from ..audit_actions import Action
from ..errors import Conflict
from ..i18n import _
from ..models import Lease, LeaseState, NoticeKind
from ..terms import revocation as decide_revocation
from . import devices, leases, notices
from .tables import lease


def extend(
    connection: Connection,
    lease_id: str,
    until: datetime,
    now: datetime,
    actor: str,
    *,
    by_user: bool,
    reason: str = "",
) -> None:
    """A later end. Raises NotFound, and Conflict if it ended, has no end, or may not go on.

    With a `reason` somebody else gives it, and its user is told.
    """
    found = leases.unended(connection, lease_id)
    if devices.is_draining(connection, found.device_uuids):
        raise Conflict(_("A device of this lease is taken out of use, so it cannot be extended."))
    if found.expires_at is None:
        raise Conflict(_("This lease has no end, so there is nothing to extend."))
    if found.revocation is not None and until > found.revocation.until:
        raise Conflict(_("This lease was revoked, so it cannot be extended."))
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
        Action.EXTEND,
        f"until {until:%Y-%m-%d %H:%M:%S %Z}"
        + (f": {reason}" if reason else "" if by_user else ", as nobody waits"),
        reason,
        expires_at=until,
        extensions=found.extensions + 1 if by_user else found.extensions,
    )
    if reason:
        told = {"by": actor, "reason": reason, "until": until.isoformat()}
        notices.add(
            connection, found.user, found.server, NoticeKind.LEASE_EXTENDED, told, now, actor
        )


def revoke(
    connection: Connection,
    lease_id: str,
    notice: timedelta,
    reason: str,
    now: datetime,
    actor: str,
) -> Lease:
    """Let it end after the notice period at the latest, and tell its user; the lease then.

    Nothing changes if it ends by then as it was revoked before. Raises NotFound, and Conflict if it
    has ended or has no devices.
    """
    found = leases.unended(connection, lease_id)
    if not found.device_uuids:
        raise Conflict(_("This lease has no GPUs, so there is nothing to take back."))
    said = decide_revocation(found, notice, actor, reason, now)
    if said is None:
        return found
    leases.change(
        connection,
        lease_id,
        now,
        actor,
        Action.REVOKE,
        f"until {said.until:%Y-%m-%d %H:%M:%S %Z}: {reason}",
        reason,
        revoked_at=said.at,
        revoke_until=said.until,
        revoked_by=actor,
        revoke_reason=reason,
    )
    _forget(connection, found)
    told = {"by": actor, "reason": reason, "until": said.until.isoformat()}
    notices.add(connection, found.user, found.server, NoticeKind.LEASE_REVOKED, told, now, actor)
    return leases.one(connection, lease_id)


def undo_revoke(connection: Connection, lease_id: str, now: datetime, actor: str) -> Lease:
    """Give it the end back that it had, and tell its user; the lease then.

    Nothing changes if it is not revoked. Raises NotFound, and Conflict if it has ended or is due.
    """
    found = leases.unended(connection, lease_id)
    if found.revocation is None:
        return found
    if found.revocation.until <= now:
        raise Conflict(_("It is too late: this lease is being ended."))
    leases.change(connection, lease_id, now, actor, Action.UNDO_REVOKE, "", **leases.NOT_REVOKED)
    _forget(connection, found)
    kind = NoticeKind.REVOCATION_UNDONE
    notices.add(connection, found.user, found.server, kind, {"by": actor}, now, actor)
    return leases.one(connection, lease_id)


def _forget(connection: Connection, found: Lease) -> None:
    """Take back what its user has not read yet and what does not hold any more."""
    for kind in (NoticeKind.LEASE_REVOKED, NoticeKind.REVOCATION_UNDONE):
        notices.forget(connection, found.user, found.server, kind)


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
        leases.change(
            connection, lease_id, now, actor, Action.SHORTEN, detail, reason, expires_at=until
        )


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
    values: dict[str, Any] = {"idle_since": since, "reclaim_at": reclaim_at}
    if found.reclaim_at == reclaim_at:
        if found.idle_since != since:
            connection.execute(update(lease).where(lease.c.id == lease_id).values(**values))
        return
    detail = f"{reclaim_at:%Y-%m-%d %H:%M:%S %Z}" if reclaim_at is not None else "not any more"
    leases.change(connection, lease_id, now, actor, Action.RECLAIM, detail, **values)
