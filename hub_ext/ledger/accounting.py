"""Usage: device-seconds by day, user, group and device, and the faded use that orders the queue.

Guarantees:

- a device's time in a lease is written once: in the transaction that frees it;
- the rows of `usage` with group "" add up to the device-seconds of the leases that ended, where a
  slot of a shared device counts as 1/slots of it; each named group has its members' in full;
- sums include live leases up to `now`, and are exact from any moment on, not only from midnight
  (for the day of `Policy.event_start`, `prune` keeps what that needs).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from itertools import repeat
from operator import mul
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Table, func, select
from sqlalchemy.dialects import postgresql, sqlite

from ..models import Usage
from ..policy import Policy
from ..usage import DAY, by_day, day_start, decay, decayed_use
from .kept_rows import Kept, KeptRows
from .people import about
from .tables import LIVE, fair_share, lease, lease_device, usage
from .texts import names

_OPEN = LIVE & lease_device.c.given_back_at.is_(None)
Share = tuple[float, float]  # device-seconds, and when it was so much: seconds since 1970
NEGLIGIBLE = 1.0  # faded device-seconds that need not be kept


@dataclass(frozen=True, slots=True)
class Span:
    """One device in one lease: `devices` of it (1, or 1/slots) since `began`."""

    user: str
    groups: tuple[str, ...]
    device_uuid: str
    devices: float
    began: datetime
    ended: datetime | None


def write(
    connection: Connection,
    lease_id: str,
    now: datetime,
    policy: Policy,
    only: Collection[str] | None = None,
) -> None:
    """Count a lease's devices (or only some) until `now`, just before they are freed."""
    spans = [
        span
        for span in _spans(connection, _OPEN, lease.c.id == lease_id)
        if only is None or span.device_uuid in only
    ]
    if not spans:
        return
    seconds: dict[tuple[date, str, str], float] = defaultdict(float)
    for span in spans:
        for day, part in by_day(span.began, now):
            for group in ("", *span.groups):
                seconds[day, group, span.device_uuid] += part * span.devices
    user = spans[0].user
    if seconds:
        statement = _insert(connection)(usage)
        connection.execute(
            statement.on_conflict_do_update(
                index_elements=list(usage.primary_key),
                set_={"seconds": usage.c.seconds + statement.excluded.seconds},
            ),
            [
                {
                    "day": day,
                    "user_name": user,
                    "group_name": group,
                    "device_uuid": device_uuid,
                    "seconds": value,
                }
                for (day, group, device_uuid), value in sorted(seconds.items())
            ],
        )
    _add_fair_share(connection, spans, now, policy)


def _add_fair_share(
    connection: Connection, spans: list[Span], now: datetime, policy: Policy
) -> None:
    user = spans[0].user
    devices = sum(span.devices for span in spans)
    amount = decayed_use(devices, spans[0].began, now, now, policy.half_life)
    before = connection.execute(
        select(fair_share).where(fair_share.c.user_name == user)
    ).one_or_none()
    if before is not None:
        amount += decay(before.device_seconds, now - before.as_of, policy.half_life)
    statement = _insert(connection)(fair_share).values(
        user_name=user, device_seconds=amount, as_of=now
    )
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=[fair_share.c.user_name],
            set_={"device_seconds": amount, "as_of": now},
        )
    )


def shares_again(connection: Connection, last: Kept[Share]) -> Kept[Share]:
    """The faded use that is written down, by user."""
    return _shares.read(connection, last)


@dataclass(frozen=True, slots=True)
class FadedUse:
    """What makes up the faded use of all users, so that it is told quickly for any time.

    `shares` are what is written down of leases that ended, `written` the same as it was at the
    `latest` of them; `live` are the leases that have not: user, devices, since when. Times are
    seconds since 1970.
    """

    shares: Mapping[str, Share]
    live: Sequence[tuple[str, float, float]]
    half_life: timedelta
    latest: float
    written: Mapping[str, float]

    def at(self, now: datetime) -> dict[str, float]:
        """Device-seconds of each user; what began later does not count."""
        moment = now.timestamp()
        rate = math.log(2) / self.half_life.total_seconds()
        if moment < self.latest:  # the clock was set back
            found = _faded_to(moment, self.shares, self.half_life)
        else:
            factor = math.exp(-rate * (moment - self.latest))
            faded = map(mul, self.written.values(), repeat(factor))
            found = dict(zip(self.written, faded, strict=True))
        for user, devices, began in self.live:  # as usage.decayed_use has it
            lasted = max(moment - began, 0.0)
            use = -math.expm1(-rate * lasted) / rate * devices
            found[user] = found.get(user, 0.0) + use
        return found


def faded_use(
    shares: Mapping[str, Share], live: Sequence[tuple[str, float, float]], half_life: timedelta
) -> FadedUse:
    """Of what is written down, and of the live leases."""
    latest = max((as_of for _seconds, as_of in shares.values()), default=0.0)
    return FadedUse(shares, live, half_life, latest, _faded_to(latest, shares, half_life))


def _faded_to(moment: float, shares: Mapping[str, Share], half_life: timedelta) -> dict[str, float]:
    """As usage.decay has it: a negative time makes nothing grow."""
    seconds = half_life.total_seconds()
    return {
        user: amount * math.exp2(min(as_of - moment, 0.0) / seconds)
        for user, (amount, as_of) in shares.items()
    }


def by_days(
    connection: Connection, since: date, until: date, now: datetime, *, user: str | None = None
) -> tuple[Usage, ...]:
    """Usage on the days `since` to `until`, both included, live leases up to `now`."""
    totals: dict[tuple[date, str, str, str], float] = defaultdict(float)
    query = select(usage).where(usage.c.day.between(since, until))
    mine: list[ColumnElement[bool]] = []
    if user is not None:
        query = query.where(usage.c.user_name == user)
        mine = [lease.c.user_name == user]
    for row in connection.execute(query).all():
        totals[row.day, row.user_name, row.group_name, row.device_uuid] = row.seconds
    for span in _spans(connection, _OPEN, *mine):
        for day, part in by_day(span.began, now):
            if since <= day <= until:
                for group in ("", *span.groups):
                    totals[day, span.user, group, span.device_uuid] += part * span.devices
    return tuple(Usage(*key, seconds) for key, seconds in sorted(totals.items()))


def sums(
    connection: Connection, since: date, until: date, now: datetime, by: Collection[str]
) -> tuple[Usage, ...]:
    """The same, summed by some of "day", "user", "group" and "device"; the rest says nothing.

    The database sums, for a year of use is a great many rows. By group: who is in two counts for
    both; else the rows of groups are left out.
    """
    columns = {
        "day": usage.c.day,
        "user": usage.c.user_name,
        "group": usage.c.group_name,
        "device": usage.c.device_uuid,
    }
    kept = [name for name in columns if name in by]
    of_groups = "group" in by
    totals: dict[tuple[Any, ...], float] = defaultdict(float)
    for *key, seconds in connection.execute(
        select(*(columns[name] for name in kept), func.sum(usage.c.seconds))
        .where(
            usage.c.day.between(since, until),
            # ">" is "not empty", so written that an index finds it
            usage.c.group_name > "" if of_groups else usage.c.group_name == "",
        )
        .group_by(*(columns[name] for name in kept))
    ).all():
        totals[tuple(key)] += seconds
    for span in _spans(connection, _OPEN):
        for day, part in by_day(span.began, now):
            if since <= day <= until:
                for group in span.groups if of_groups else ("",):
                    values = {
                        "day": day,
                        "user": span.user,
                        "group": group,
                        "device": span.device_uuid,
                    }
                    totals[tuple(values[name] for name in kept)] += part * span.devices
    places = [list(columns).index(name) for name in kept]
    found: list[Usage] = []
    for of, seconds in sorted(totals.items()):
        parts: list[Any] = [since, "", "", "", seconds]
        for place, value in zip(places, of, strict=True):
            parts[place] = value
        found.append(Usage(*parts))
    return tuple(found)


def device_seconds(
    connection: Connection,
    since: datetime,
    now: datetime,
    *,
    user: str | None = None,
    group: str = "",
) -> float:
    """Device-seconds in [since, now] of a user, or of all members of a group."""
    first_day = day_start(since)
    if first_day < since:
        first_day += DAY
    mine: list[ColumnElement[bool]] = [lease.c.user_name == user] if user is not None else []
    rows = [usage.c.user_name == user] if user is not None else []
    total = float(
        connection.execute(
            select(func.coalesce(func.sum(usage.c.seconds), 0.0)).where(
                usage.c.group_name == group, usage.c.day >= first_day.date(), *rows
            )
        ).scalar_one()
    )
    for span in _begun_spans(connection, since, first_day, *mine):
        if not group or group in span.groups:
            until = min(span.ended or now, now)
            seconds = (until - max(span.began, since)).total_seconds()
            total += max(seconds, 0.0) * span.devices
    return total


def seconds_by_user(
    connection: Connection, users: Collection[str], since: datetime, now: datetime
) -> dict[str, float]:
    """Device-seconds in [since, now] of each of these users, in few queries."""
    first_day = day_start(since)
    if first_day < since:
        first_day += DAY
    found = dict.fromkeys(users, 0.0)
    query = (
        select(usage.c.user_name, func.sum(usage.c.seconds).label("seconds"))
        .where(
            usage.c.group_name == "",
            usage.c.user_name.in_(list(found)),  # a few rows of each, whatever the years
            usage.c.day >= first_day.date(),
        )
        .group_by(usage.c.user_name)
    )
    for row in connection.execute(query).all():
        found[row.user_name] += float(row.seconds)
    mine = about(connection, lease.c.user_name, found)
    for span in _begun_spans(connection, since, first_day, mine):
        if span.user in found:
            until = min(span.ended or now, now)
            seconds = (until - max(span.began, since)).total_seconds()
            found[span.user] += max(seconds, 0.0) * span.devices
    return found


def _begun_spans(
    connection: Connection, since: datetime, first_day: datetime, *mine: ColumnElement[bool]
) -> Iterator[Span]:
    """What the days from `first_day` on do not tell: live leases, and the rest of a day that began
    before `since`, from the leases themselves."""
    yield from _spans(connection, _OPEN, *mine)
    if since < first_day:
        # one after the other: an index finds each, and none finds both
        for ended_since in (
            (lease.c.ended_at > since,),
            (LIVE, lease_device.c.given_back_at > since),
        ):
            for span in _spans(connection, *ended_since, lease.c.granted_at < first_day, *mine):
                if span.ended is not None:
                    yield replace(span, ended=min(span.ended, first_day))


def forget_faded(connection: Connection, before: datetime, policy: Policy) -> None:
    """Drop what has faded to next to nothing."""
    for row in connection.execute(select(fair_share)).all():
        if decay(row.device_seconds, before - row.as_of, policy.half_life) < NEGLIGIBLE:
            connection.execute(fair_share.delete().where(fair_share.c.user_name == row.user_name))


def _spans(connection: Connection, *conditions: ColumnElement[bool]) -> Iterator[Span]:
    rows = connection.execute(
        select(
            lease.c.user_name,
            lease.c.groups,
            lease.c.granted_at,
            lease.c.ended_at,
            lease_device.c.device_uuid,
            lease_device.c.slots,
            lease_device.c.given_back_at,
        )
        .join(lease_device, lease_device.c.lease_id == lease.c.id)
        .where(*conditions)
        .order_by(lease.c.granted_at, lease.c.id, lease_device.c.position)
    ).all()
    for row in rows:
        yield Span(
            row.user_name,
            names(row.groups),
            row.device_uuid,
            1.0 / max(row.slots, 1),
            row.granted_at,
            row.given_back_at or row.ended_at,
        )


def _insert(connection: Connection) -> Callable[[Table], Any]:
    """The dialect's INSERT, which knows ON CONFLICT."""
    return postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert


def _share(row: Row[Any]) -> Share:
    return (row.device_seconds, row.as_of.timestamp())


_shares = KeptRows(fair_share.c.user_name, select(fair_share), _share)
