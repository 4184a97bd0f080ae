"""The arithmetic of usage: device-seconds that fade, days, and what a quota leaves. Pure.

What this module guarantees:

- Use adds up: that of [a, b] and of [b, c] is that of [a, c], faded or not, and the days of an
  interval are the interval. What ends before it began counts nothing (a clock that was set back).
- A slot of a shared device with n slots counts as 1/n device.
- `remaining_time` is exact for as long as nobody else starts or stops: the leases that count for a
  budget now go on meanwhile, and a daily budget begins anew at each midnight (UTC).

Amounts are device-seconds unless a name says hours.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta

from .models import EPOCH, Device, DeviceRecord, Lease
from .policy import GroupLimits, Policy

DAY = timedelta(days=1)


def decay(amount: float, elapsed: timedelta, half_life: timedelta) -> float:
    """What is left of an amount after `elapsed`; a negative time makes nothing grow."""
    return amount * math.exp2(-max(elapsed / half_life, 0.0))


def decayed_use(
    devices: float, began: datetime, ended: datetime, now: datetime, half_life: timedelta
) -> float:
    """Device-seconds of `devices` in use from `began` to `ended`, each faded by its age at `now`.

    What lies after `now` does not count. The integral of devices * 2^(-(now - t) / half_life).
    """
    ended = min(ended, now)
    if ended <= began:
        return 0.0
    rate = math.log(2) / half_life.total_seconds()
    # expm1: with a half-life of years the difference of two powers would be lost in rounding
    fresh = -math.expm1(-rate * (ended - began).total_seconds()) / rate
    return decay(devices * fresh, now - ended, half_life)


def by_day(began: datetime, ended: datetime) -> Iterator[tuple[date, float]]:
    """The seconds of an interval on each UTC day that it touches, in order."""
    began, ended = began.astimezone(UTC), ended.astimezone(UTC)
    while began < ended:
        until = min(day_start(began) + DAY, ended)
        yield began.date(), (until - began).total_seconds()
        began = until


def day_start(moment: datetime) -> datetime:
    """The midnight (UTC) that its day began with."""
    return datetime.combine(moment.astimezone(UTC).date(), time(), UTC)


def devices_of(uuids: Iterable[str], devices: Mapping[str, Device]) -> float:
    """As how many devices a lease of these counts; one that is not known counts whole."""
    return sum(1 / max(devices[uuid].slots, 1) if uuid in devices else 1.0 for uuid in uuids)


@dataclass(frozen=True, slots=True)
class Use:
    """What a user, or a group, has used: live leases up to now included."""

    today: float = 0.0  # since midnight UTC
    event: float = 0.0  # since Policy.event_start
    devices: float = 0.0  # in use now


@dataclass(frozen=True, slots=True)
class QuotaUse:
    """The use of those that a quota may concern; whoever is not named has used nothing."""

    users: Mapping[str, Use] = field(default_factory=dict)
    groups: Mapping[str, Use] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Allowance:
    """What one limit leaves. `group` "": the user's own; `daily`: of a UTC day, else the event."""

    time: timedelta
    limit_hours: float  # device-hours
    used_hours: float
    daily: bool
    group: str = ""


def remaining_time(
    policy: Policy,
    user: str,
    groups: Collection[str],
    use: QuotaUse,
    devices: float,
    now: datetime,
) -> timedelta | None:
    """How long a new lease of `devices` (see `devices_of`) may last; zero: not at all. None: no
    limit of device-hours. With `devices` 0, how long the user's live leases may go on."""
    found = tightest(policy, user, groups, use, devices, now)
    return None if found is None else found.time


def tightest(
    policy: Policy,
    user: str,
    groups: Collection[str],
    use: QuotaUse,
    devices: float,
    now: datetime,
) -> Allowance | None:
    """The limit that ends a lease of `devices` first, for `remaining_time` and for messages."""
    return min(
        _allowances(policy, user, groups, use, devices, now),
        key=lambda each: each.time,
        default=None,
    )


def _allowances(
    policy: Policy,
    user: str,
    groups: Collection[str],
    use: QuotaUse,
    devices: float,
    now: datetime,
) -> Iterator[Allowance]:
    rule = policy.rule_for(groups)
    limits = [("", rule.device_hours_per_day, rule.device_hours, use.users.get(user, Use()))]
    for name in sorted(groups):
        limit = policy.group_limits.get(name)
        if limit is not None:
            used = use.groups.get(name, Use())
            limits.append((name, limit.device_hours_per_day, limit.device_hours, used))
    for name, per_day, per_event, used in limits:
        rate = used.devices + devices
        for hours, spent, daily in ((per_day, used.today, True), (per_event, used.event, False)):
            if hours is None or math.isinf(hours) or rate <= 0:
                continue
            seconds = _lasts(hours * 3600, spent, rate, now if daily else None)
            if seconds is not None:
                yield Allowance(seconds, hours, spent / 3600, daily, name)


def _lasts(
    budget: float, spent: float, rate: float, daily_from: datetime | None
) -> timedelta | None:
    """How long a budget lasts at `rate` devices; a daily one is full again at midnight."""
    seconds = max(budget - spent, 0.0) / rate
    if daily_from is not None:
        to_midnight = (day_start(daily_from) + DAY - daily_from).total_seconds()
        if seconds >= to_midnight:
            if rate * DAY.total_seconds() <= budget:
                return None
            seconds = to_midnight + budget / rate
    # a limit of a hundred million hours is none, and no timedelta either
    return timedelta(seconds=seconds) if seconds < 100 * 366 * DAY.total_seconds() else None


def quota_use(
    policy: Policy,
    people: Mapping[str, Collection[str]],
    leases: Iterable[Lease],
    devices: Iterable[DeviceRecord],
    now: datetime,
    *,
    device_seconds: Callable[[Collection[str], datetime, datetime], Mapping[str, float]],
    group_device_seconds: Callable[[str, datetime, datetime], float],
) -> QuotaUse:
    """The use of `people` (user -> groups) and their groups, as far as a limit asks for it.

    `leases` are the live ones; `device_seconds(users, since, now)` and `group_device_seconds(group,
    since, now)` are the ledger's. Where no limit of device-hours is set, nothing is asked.
    """
    known = {each.device.uuid: each.device for each in devices}
    live = [(lease, devices_of(lease.device_uuids, known)) for lease in leases]
    since = policy.event_start or EPOCH
    rules = {user: policy.rule_for(groups) for user, groups in people.items()}
    per_day = [user for user, rule in rules.items() if rule.device_hours_per_day is not None]
    per_event = [user for user, rule in rules.items() if rule.device_hours is not None]
    # all in one go: a large site asks for hundreds every few seconds
    today = device_seconds(per_day, day_start(now), now) if per_day else {}
    in_all = device_seconds(per_event, since, now) if per_event else {}
    in_use: dict[str, float] = defaultdict(float)
    for lease, count in live:
        in_use[lease.user] += count
    users = {
        user: Use(today.get(user, 0.0), in_all.get(user, 0.0), in_use.get(user, 0.0))
        for user in dict.fromkeys([*per_day, *per_event])
    }
    shared = {}
    for name in sorted({name for groups in people.values() for name in groups}):
        limit = policy.group_limits.get(name, GroupLimits())
        daily, event = limit.device_hours_per_day, limit.device_hours
        if daily is not None or event is not None:
            shared[name] = Use(
                group_device_seconds(name, day_start(now), now) if daily is not None else 0.0,
                group_device_seconds(name, since, now) if event is not None else 0.0,
                sum(count for lease, count in live if name in lease.groups),
            )
    return QuotaUse(users, shared)
