"""When leases end: terms, extensions, idle devices, quotas. Pure: leases + what is seen -> actions.

What this module guarantees:

- Only a running lease is acted on: never one that is held, or whose server is being reset.
- No server is stopped before the end of its lease, or before the time that its user was warned of.
- No server is stopped unless its user could have seen it coming: for as long as the shortest
  warning this service has been looking without a break (`Watch`). After hours without the service,
  or a jump of the clock, a lease whose end has passed goes on for that long.
- A lease whose term is over goes on while nobody waits who could use its devices (unless the policy
  says otherwise), the quota lasts, and no device of it is drained. Of several, only as many end as
  those who wait need.
- Devices are taken back only if they did nothing for `idle_after`, seen without a break, and still
  do nothing `idle_answer` after the warning, while somebody waits who could use them. Activity that
  is not known is activity. An answer ("I am using it") starts the count anew.
- A lease that was revoked ends when its notice period is over, whoever waits: not before because of
  that, and its end is never put off. Until then it is like any other, but nobody extends it.
- Applied twice, the actions are as applied once.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from .demand import Demand
from .models import (
    Cordon,
    Device,
    DeviceRecord,
    Lease,
    LeaseState,
    NoticeKind,
    QueueEntry,
    Revocation,
)
from .policy import Policy
from .usage import QuotaUse, remaining_time

GAP = timedelta(seconds=60)  # longer than that between two looks, and nobody looked
STEP = timedelta(minutes=15)  # by which a lease goes on at most, so that who comes waits no longer
CLOSE = timedelta(seconds=60)  # a difference that is not worth a change
_NEVER = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Watch:
    """Since when this service looks without a break, and when it looked last."""

    since: datetime
    last: datetime


def look(watch: Watch | None, now: datetime) -> Watch:
    """The watch at this look, from that of the last one (None: the first since the start)."""
    if watch is None or not timedelta(0) <= now - watch.last <= GAP:
        return Watch(now, now)
    return Watch(watch.since, now)


@dataclass(frozen=True, slots=True)
class AutoExtend:
    """The term is over and nobody needs the devices: go on until then."""

    lease_id: str
    until: datetime


@dataclass(frozen=True, slots=True)
class ShortenForQuota:
    """The device-hours of its user will be used up before its term is over."""

    lease_id: str
    until: datetime


@dataclass(frozen=True, slots=True)
class MarkIdle:
    """The devices do nothing since then (None: they do something, or it is not known).

    With `reclaim_at` the user is warned: then the devices are taken back.
    """

    lease_id: str
    since: datetime | None
    reclaim_at: datetime | None


@dataclass(frozen=True, slots=True)
class StopServer:
    """Stop the server, and tell its user why. Said again until its lease has ended."""

    lease_id: str
    user: str
    server: str
    kind: NoticeKind


TermAction = AutoExtend | ShortenForQuota | MarkIdle | StopServer


class ExtendRefusal(StrEnum):
    """Why a user may not extend a lease now; wording.py has the words."""

    NOT_RUNNING = "not_running"  # it starts, is reset or has ended
    NO_END = "no_end"  # it needs no extension
    DRAINING = "draining"  # a device of it is being taken out of use
    REVOKED = "revoked"  # an admin or instructor said that it ends
    WAITED_FOR = "waited_for"  # somebody waits who could use its devices
    QUOTA = "quota"  # not enough device-hours are left for it
    FULL = "full"  # as much time is left as a new lease would get


def review(
    leases: Sequence[Lease],
    seen: Mapping[str, Device],
    waiting: Sequence[QueueEntry],
    devices: Sequence[DeviceRecord],
    policy: Policy,
    now: datetime,
    resetting: Collection[tuple[str, str]] = (),
    used: QuotaUse | None = None,
    *,
    watch: Watch,
) -> tuple[TermAction, ...]:
    """What the terms of the live `leases` ask for now.

    Args:
        seen: what the last scan of the inventory said, by UUID; empty if the last one failed.
        waiting: the queue, without those that nobody will come back for.
        resetting: the (user, server) with a reset under way.
        used: see usage.quota_use, for the users of `leases`.
        watch: that of this look (see `look`).
    """
    running = [
        lease
        for lease in leases
        if lease.state is LeaseState.RUNNING
        and lease.device_uuids
        and (lease.user, lease.server) not in resetting
    ]
    if not running:
        return ()
    demand = Demand(waiting, devices, leases, policy)
    draining = {each.device.uuid for each in devices if each.cordon is Cordon.DRAINING}
    actions: list[TermAction] = []
    over: list[tuple[Lease, timedelta | None]] = []
    for lease in running:
        left = remaining_time(policy, lease.user, lease.groups, used or QuotaUse(), 0, now)
        if lease.expires_at is not None and lease.expires_at <= now:
            over.append((lease, left))
        elif (until := _quota_end(lease, left, policy, now)) is not None:
            actions.append(ShortenForQuota(lease.id, until))
    ending, decided = _at_the_end(over, draining, demand, policy, now, watch)
    actions += decided
    actions += _idle(running, ending, seen, demand, policy, now, watch)
    return tuple(actions)


def may_extend(
    lease: Lease,
    waiting: Sequence[QueueEntry],
    devices: Sequence[DeviceRecord],
    policy: Policy,
    now: datetime,
    used: QuotaUse | None = None,
    leases: Sequence[Lease] = (),
) -> tuple[datetime | None, str]:
    """Until when its user may extend a lease now, or None and the reason (an ExtendRefusal).

    `leases` are all live ones, `used` as in `review`.
    """
    never = _never_extended(lease, devices)
    if never is not None or lease.expires_at is None:
        return None, never or ExtendRefusal.NO_END
    if Demand(waiting, devices, leases, policy).wants(lease):
        return None, ExtendRefusal.WAITED_FOR
    until = max(lease.expires_at, now) + policy.extension
    hours = policy.rule_for(lease.groups).lease_hours
    refusal = ExtendRefusal.FULL
    if hours is not None:
        until = min(until, now + timedelta(hours=hours))
    left = remaining_time(policy, lease.user, lease.groups, used or QuotaUse(), 0, now)
    if left is not None and now + left < until:
        until, refusal = now + left, ExtendRefusal.QUOTA
    if until < lease.expires_at + CLOSE or until <= now:
        return None, refusal
    return until, ""


def _never_extended(lease: Lease, devices: Sequence[DeviceRecord]) -> ExtendRefusal | None:
    """Why nobody can extend it as it is, whoever asks and for how long."""
    if lease.state is not LeaseState.RUNNING:
        return ExtendRefusal.NOT_RUNNING
    if lease.expires_at is None:
        return ExtendRefusal.NO_END
    held = [each for each in devices if each.device.uuid in lease.device_uuids]
    if any(each.cordon is Cordon.DRAINING for each in held):
        return ExtendRefusal.DRAINING
    return ExtendRefusal.REVOKED if lease.revocation is not None else None


def may_be_extended_by(
    lease: Lease,
    time: timedelta,
    devices: Sequence[DeviceRecord],
    policy: Policy,
    now: datetime,
    used: QuotaUse | None = None,
) -> tuple[datetime | None, str]:
    """As `may_extend`, when an admin or instructor gives it so much more time.

    Whoever waits, and however long a new lease would be; but no longer than the quota lasts.
    """
    never = _never_extended(lease, devices)
    if never is not None or lease.expires_at is None:
        return None, never or ExtendRefusal.NO_END
    until = max(lease.expires_at, now) + time
    left = remaining_time(policy, lease.user, lease.groups, used or QuotaUse(), 0, now)
    if left is not None and now + left < until:
        return None, ExtendRefusal.QUOTA
    return until, ""


def usual_notice(policy: Policy) -> timedelta:
    """How long before its end the user of a revoked lease hears of it: as by the first warning."""
    return max(policy.warnings, default=timedelta(0))


def revocation(
    lease: Lease, notice: timedelta, by: str, reason: str, now: datetime
) -> Revocation | None:
    """What it is when a live lease is revoked now; None: one that ends it no later is in force."""
    until = now + max(notice, timedelta(0))
    if lease.revocation is not None and lease.revocation.until <= until:
        return None
    return Revocation(now, until, by, reason)


def _is_due(lease: Lease, now: datetime) -> bool:
    return lease.revocation is not None and lease.revocation.until <= now


def _notice(policy: Policy) -> timedelta:
    """How long before a stop its user can see it coming."""
    return min(policy.warnings, default=timedelta(0))


def _quota_end(
    lease: Lease, left: timedelta | None, policy: Policy, now: datetime
) -> datetime | None:
    """The new end of a lease that its user's quota will not last for.

    Not before all warnings are due: until then another server of theirs may stop, and it lasts.
    """
    if left is None or left > max(policy.warnings, default=timedelta(0)):
        return None
    until = now + max(left, _notice(policy), CLOSE)
    return until if lease.expires_at is None or until + CLOSE < lease.expires_at else None


def _at_the_end(
    over: Sequence[tuple[Lease, timedelta | None]],
    draining: AbstractSet[str],
    demand: Demand,
    policy: Policy,
    now: datetime,
    watch: Watch,
) -> tuple[set[str], list[TermAction]]:
    """The leases that must end, and what to do now about those whose term is over."""
    step = min(policy.extension, STEP)
    must_end = {
        lease.id: _is_due(lease, now)
        or not policy.auto_extend
        or step <= timedelta(0)
        or (left is not None and left < CLOSE)
        or not draining.isdisjoint(lease.device_uuids)
        for lease, left in over
    }
    ending: set[str] = set()
    actions: list[TermAction] = []
    # first those that end anyway: what they leave need not come from another
    for lease, left in sorted(
        over, key=lambda each: (not must_end[each[0].id], each[0].expires_at, each[0].id)
    ):
        wanted = demand.take(lease)
        if not must_end[lease.id] and not wanted:
            until = now + (step if left is None else min(step, left))
            if lease.revocation is not None:
                until = min(until, lease.revocation.until)
            actions.append(AutoExtend(lease.id, until))
            continue
        ending.add(lease.id)
        if now < watch.since + _patience(lease, policy, now):
            continue
        actions.append(StopServer(lease.id, lease.user, lease.server, _kind(lease, left, now)))
    return ending, actions


def _patience(lease: Lease, policy: Policy, now: datetime) -> timedelta:
    """How long this service must have looked to end a lease: who revokes may want it at once."""
    if lease.revocation is None or not _is_due(lease, now):
        return _notice(policy)
    return min(_notice(policy), lease.revocation.until - lease.revocation.at)


def _kind(lease: Lease, left: timedelta | None, now: datetime) -> NoticeKind:
    """Why a lease ends."""
    if _is_due(lease, now):
        return NoticeKind.STOPPED_AS_REVOKED
    if left is not None and left < CLOSE:
        return NoticeKind.QUOTA_USED_UP
    return NoticeKind.LEASE_EXPIRED


def _idle(
    leases: Sequence[Lease],
    ending: AbstractSet[str],
    seen: Mapping[str, Device],
    demand: Demand,
    policy: Policy,
    now: datetime,
    watch: Watch,
) -> Iterator[TermAction]:
    """Marks, warnings, and stops of those that were warned."""
    ripe = []
    for lease in leases:
        if policy.idle_after is None or not _does_nothing(lease, seen, policy):
            mark = MarkIdle(lease.id, None, None)
        elif lease.idle_since is None or not watch.since <= lease.idle_since <= now:
            mark = MarkIdle(lease.id, now, None)  # what was before nobody has seen
        elif now - lease.idle_since < policy.idle_after:
            mark = MarkIdle(lease.id, lease.idle_since, None)
        else:
            if lease.id not in ending:  # its devices count as given back already
                ripe.append(lease)
            continue
        yield from _if_changed(lease, mark)
    # those that were warned first: somebody who answers makes room for the next warning
    for lease in sorted(
        ripe, key=lambda each: (each.reclaim_at or _NEVER, each.idle_since, each.id)
    ):
        reclaim_at = None
        if demand.take(lease):
            reclaim_at = lease.reclaim_at or now + policy.idle_answer
            if reclaim_at <= now:
                kind = NoticeKind.LEASE_RECLAIMED
                yield StopServer(lease.id, lease.user, lease.server, kind)
                continue
        yield from _if_changed(lease, MarkIdle(lease.id, lease.idle_since, reclaim_at))


def _if_changed(lease: Lease, mark: MarkIdle) -> Iterator[MarkIdle]:
    if (lease.idle_since, lease.reclaim_at) != (mark.since, mark.reclaim_at):
        yield mark


def _does_nothing(lease: Lease, seen: Mapping[str, Device], policy: Policy) -> bool:
    """Whether all its devices are known to do nothing."""
    for uuid in lease.device_uuids:
        device = seen.get(uuid)
        if device is None or device.compute_processes != 0 or device.utilization_percent is None:
            return False
        if device.utilization_percent > policy.idle_utilization_percent:
            return False
    return True
