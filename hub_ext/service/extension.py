"""Whether a lease may go on for longer now, for its user or for an admin, and if not, why. Pure.

hub_ext/terms.py decides; this module has the words.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from ..i18n import N_, _, ngettext
from ..models import Lease, QueueEntry, Snapshot
from ..placement import suits
from ..terms import ExtendRefusal, may_be_extended_by, may_extend
from ..usage import QuotaUse, tightest
from .wording import hours_used_up, someone_waits

ORPHAN_WAIT = timedelta(
    seconds=120
)  # how long a start that the hub's end cut off may take to return

_REFUSALS = {
    ExtendRefusal.NOT_RUNNING: N_(
        "The server is being started or reset. Extend its lease when it runs."
    ),
    ExtendRefusal.NO_END: N_("The lease has no end, so there is nothing to extend."),
    ExtendRefusal.DRAINING: N_(
        "A GPU of this server is needed for maintenance, so the lease cannot be extended. Save "
        "your work before it ends."
    ),
    ExtendRefusal.REVOKED: N_(
        "The lease was revoked, so it cannot be extended. Save your work before it ends."
    ),
    ExtendRefusal.FULL: N_(
        "The lease is as long as a new one would be. Extend it later, when less time is left."
    ),
}


@dataclass(frozen=True, slots=True)
class Extension:
    """`until` is the end that an extension gives now; None: refused, `refusal` says why."""

    until: datetime | None
    refusal: str = ""


def extension_of(lease: Lease, snapshot: Snapshot, use: QuotaUse) -> Extension:
    """What its user would get, in the reader's language. `use`: see usage.quota_use."""
    until, why = may_extend(
        lease,
        waiting(snapshot),
        snapshot.devices,
        snapshot.policy,
        snapshot.now,
        use,
        snapshot.leases,
    )
    if until is not None:
        return Extension(until)
    match why:
        case ExtendRefusal.WAITED_FOR:
            return Extension(None, someone_waits(_waiting_for(lease, snapshot)))
        case ExtendRefusal.QUOTA:
            left = tightest(snapshot.policy, lease.user, lease.groups, use, 0, snapshot.now)
            if left is not None:
                return Extension(
                    None,
                    hours_used_up(
                        left.used_hours, left.limit_hours, daily=left.daily, group=left.group
                    ),
                )
    return Extension(None, _(_REFUSALS[ExtendRefusal(why)]))


def extension_by(lease: Lease, time: timedelta, snapshot: Snapshot, use: QuotaUse) -> Extension:
    """What an admin or instructor can give, in the reader's language."""
    until, why = may_be_extended_by(
        lease, time, snapshot.devices, snapshot.policy, snapshot.now, use
    )
    if until is not None:
        return Extension(until)
    left = tightest(snapshot.policy, lease.user, lease.groups, use, 0, snapshot.now)
    if left is not None and why == ExtendRefusal.QUOTA:
        spare = snapshot.now + left.time - max(lease.expires_at or snapshot.now, snapshot.now)
        minutes = max(0, int(spare.total_seconds() // 60))
        text = ngettext(
            "The device-hours of {user} last for {minutes} minute more than the lease, so it "
            "cannot be extended by more.",
            "The device-hours of {user} last for {minutes} minutes more than the lease, so it "
            "cannot be extended by more.",
            minutes,
        )
        return Extension(None, text.format(user=lease.user, minutes=minutes))
    return Extension(None, _(_REFUSALS[ExtendRefusal(why)]))


def waiting(snapshot: Snapshot) -> tuple[QueueEntry, ...]:
    """The queue without those that nobody will come back for."""
    if snapshot.now <= snapshot.run_since + ORPHAN_WAIT:
        return snapshot.queue
    return tuple(each for each in snapshot.queue if each.waiter == snapshot.run)


def _waiting_for(lease: Lease, snapshot: Snapshot) -> int:
    """How many wait who could use one of its devices; at least one, as may_extend found one."""
    held = [each.device for each in snapshot.devices if each.device.uuid in lease.device_uuids]
    others = [
        each.request
        for each in waiting(snapshot)
        if each.request.gpus
        and (each.request.user, each.request.server) != (lease.user, lease.server)
    ]
    return max(
        1,
        sum(any(suits(device, each, snapshot.policy) for device in held) for each in others),
    )
