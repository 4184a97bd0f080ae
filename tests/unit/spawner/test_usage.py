"""Usage adds up and fades as its formula says; a quota ends a lease when it is used up."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from hub_ext.models import Device, DeviceRecord, DeviceState, Lease, LeaseState
from hub_ext.policy import GroupLimits, Policy, Rule
from hub_ext.usage import (
    QuotaUse,
    Use,
    by_day,
    day_start,
    decay,
    decayed_use,
    devices_of,
    quota_use,
    remaining_time,
    tightest,
)

NOW = datetime(2026, 5, 4, 18, tzinfo=UTC)
HOUR = timedelta(hours=1)
moments = st.datetimes(datetime(2026, 1, 1), datetime(2026, 12, 31), timezones=st.just(UTC))
half_lives = st.timedeltas(timedelta(minutes=1), timedelta(days=3650))
amounts = st.floats(0, 1e6)


def close(a: float, b: float) -> bool:
    return math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-6)


# -- fading


@given(amounts, half_lives)
def test_after_a_half_life_half_is_left(amount, half_life):
    assert decay(amount, half_life, half_life) == pytest.approx(amount / 2)
    assert decay(amount, -half_life, half_life) == amount


@given(amounts, st.timedeltas(timedelta(0), 30 * HOUR), st.timedeltas(timedelta(0), 30 * HOUR))
def test_fading_in_two_steps_is_fading_at_once(amount, first, second):
    twice = decay(decay(amount, first, 6 * HOUR), second, 6 * HOUR)
    assert close(twice, decay(amount, first + second, 6 * HOUR))


@given(st.floats(0.1, 16), moments, st.timedeltas(timedelta(0), 200 * HOUR),
       st.timedeltas(timedelta(0), 200 * HOUR), half_lives)  # fmt: skip
def test_the_closed_form_is_the_integral(devices, began, length, ago, half_life):
    ended = began + length
    now = ended + ago
    steps = 2000
    width = length / steps
    numeric = sum(  # midpoints
        decay(devices * width.total_seconds(), now - (began + width * (i + 0.5)), half_life)
        for i in range(steps)
    )
    assume(length / half_life < 50)  # steeper than that, the midpoints are what is wrong
    assert decayed_use(devices, began, ended, now, half_life) == pytest.approx(
        numeric, rel=1e-3, abs=1e-6
    )


@given(st.lists(moments, min_size=4, max_size=4).map(sorted), half_lives)
def test_faded_use_adds_up(times, half_life):
    a, b, c, now = times
    parts = [decayed_use(2, x, y, now, half_life) for x, y in ((a, b), (b, c))]
    assert close(sum(parts), decayed_use(2, a, c, now, half_life))
    assert sum(parts) <= 2 * (c - a).total_seconds() * (1 + 1e-9)


@given(st.lists(moments, min_size=3, max_size=3).map(sorted), half_lives)
def test_use_that_was_added_up_earlier_fades_as_the_use_itself(times, half_life):
    """The ledger keeps a sum and fades it, instead of adding up all leases at each look."""
    began, ended, now = times
    kept = decay(decayed_use(1, began, ended, ended, half_life), now - ended, half_life)
    assert close(kept, decayed_use(1, began, ended, now, half_life))


@given(moments, moments, half_lives)
def test_what_lies_ahead_does_not_count(began, now, half_life):
    late = decayed_use(1, began, began + 1000 * HOUR, now, half_life)
    assert late == decayed_use(1, began, max(began, min(now, began + 1000 * HOUR)), now, half_life)
    assert now > began or late == 0


# -- days


@given(moments, st.timedeltas(timedelta(0), 20 * 24 * HOUR))
def test_the_days_are_the_interval(began, length):
    days = list(by_day(began, began + length))
    assert close(sum(seconds for _, seconds in days), length.total_seconds())
    assert [day for day, _ in days] == sorted({day for day, _ in days})
    assert all(0 < seconds <= 86400 for _, seconds in days)
    assert all(seconds == 86400 for _, seconds in days[1:-1])


@given(moments, st.timedeltas(timedelta(0), 60 * HOUR), st.timedeltas(timedelta(0), 60 * HOUR))
def test_days_of_parts_add_up(began, first, second):
    middle, ended = began + first, began + first + second
    parts: dict[date, float] = {}
    for day, seconds in (*by_day(began, middle), *by_day(middle, ended)):
        parts[day] = parts.get(day, 0) + seconds
    assert parts == pytest.approx(dict(by_day(began, ended)))


def test_days_are_those_of_utc():
    from zoneinfo import ZoneInfo

    began = datetime(2026, 3, 2, 7, 30, tzinfo=ZoneInfo("Asia/Shanghai"))  # 23:30 UTC
    assert list(by_day(began, began + HOUR)) == [
        (date(2026, 3, 1), 1800.0),
        (date(2026, 3, 2), 1800.0),
    ]
    assert list(by_day(began, began - HOUR)) == []


# -- quotas


def test_a_slot_counts_as_its_part_of_a_device():
    known = {"a": Device("a", "", 1, slots=4, shared=True), "b": Device("b", "", 1)}
    assert devices_of(["a", "b", "never seen"], known) == 2.25


def policy(**rule) -> Policy:
    return Policy(default=Rule(priority=0, **rule))


def used(**use) -> QuotaUse:
    return QuotaUse(users={"ann": Use(**use)})


def left(policy_: Policy, use: QuotaUse, devices: float = 1, groups=()) -> timedelta | None:
    return remaining_time(policy_, "ann", groups, use, devices, NOW)


def test_without_a_limit_there_is_no_end():
    assert left(Policy(), used(today=1e9, devices=8)) is None
    assert left(policy(device_hours=None), used(event=1e9)) is None


def test_more_devices_use_up_a_quota_sooner():
    assert left(policy(device_hours=8), used(event=3600), 2) == timedelta(hours=3.5)
    assert left(policy(device_hours=8), used(event=3600, devices=5), 2) == HOUR
    assert left(policy(device_hours=8), used(event=9 * 3600), 2) == timedelta(0)


def test_what_is_left_of_today_is_followed_by_tomorrow():
    """At 18:00, with 7 of 8 hours left and one device: over at 8 in the morning, not at 1."""
    assert left(policy(device_hours_per_day=8), used(today=3600), 1) == 14 * HOUR
    assert left(policy(device_hours_per_day=8), used(today=3600), 2) == 3.5 * HOUR
    assert left(policy(device_hours_per_day=24), used(today=0), 1) is None


def test_a_group_can_be_short_before_its_member_is():
    limits = Policy(
        default=Rule(priority=0, device_hours=10), group_limits={"red": GroupLimits(None, None, 4)}
    )
    use = QuotaUse({"ann": Use()}, {"red": Use(event=2 * 3600, devices=1)})
    assert left(limits, use, 1, ["red"]) == HOUR
    assert left(limits, use, 1, ["blue"]) == 10 * HOUR
    found = tightest(limits, "ann", ["red"], use, 1, NOW)
    assert (found.group, found.daily, found.limit_hours, found.used_hours) == ("red", False, 4, 2)


def test_the_live_leases_of_a_user_without_a_new_one():
    assert left(policy(device_hours=2), used(event=3600, devices=2), 0) == 0.5 * HOUR
    assert left(policy(device_hours=2), used(event=9 * 3600), 0) is None  # nothing to end


@given(st.floats(0.1, 30), st.floats(0, 30), st.floats(0.25, 9), st.booleans())
def test_at_the_end_of_the_remaining_time_the_budget_is_used_up(hours, spent, devices, daily):
    """Against the definition: walk from midnight to midnight and count."""
    name = "device_hours_per_day" if daily else "device_hours"
    time = left(policy(**{name: hours}), used(today=spent * 3600, event=spent * 3600), devices)
    budget, rate = hours - spent, devices
    if not daily:
        assert time / HOUR == pytest.approx(max(budget, 0) / rate, abs=1e-6)
        return
    elapsed, until_midnight = 0.0, 6.0
    for _ in range(3):
        if budget / rate < until_midnight:
            assert time / HOUR == pytest.approx(elapsed + max(budget, 0) / rate, abs=1e-6)
            return
        elapsed, until_midnight, budget = elapsed + until_midnight, 24.0, hours
    assert time is None


def record(uuid: str, slots: int = 1) -> DeviceRecord:
    device = Device(uuid, "", 1, slots=slots, shared=slots > 1)
    return DeviceRecord(device, DeviceState.HEALTHY, NOW)


def test_only_what_a_limit_asks_for_is_read():
    asked = []

    def seconds(name: str, since: datetime, now: datetime) -> float:
        asked.append((name, since))
        return 60.0

    def seconds_of(names: list[str], since: datetime, now: datetime) -> dict[str, float]:
        return {name: seconds(name, since, now) for name in names}

    limits = Policy(
        default=Rule(priority=0),
        rules={"day": Rule(device_hours_per_day=1), "event": Rule(device_hours=1)},
        group_limits={"event": GroupLimits(device_hours_per_day=1), "day": GroupLimits(8)},
        event_start=NOW - 48 * HOUR,
    )
    leases = [
        Lease("1", "ann", "", LeaseState.RUNNING, ("a", "b"), NOW, groups=("event",)),
        Lease("2", "bob", "", LeaseState.RUNNING, ("b",), NOW, groups=("day",)),
    ]
    found = quota_use(
        limits,
        {"ann": ("event",), "bob": ("day",), "cyd": ()},
        leases,
        [record("a"), record("b", 2)],
        NOW,
        device_seconds=seconds_of,
        group_device_seconds=seconds,
    )
    assert found.users == {"ann": Use(0, 60, 1.5), "bob": Use(60, 0, 0.5)}
    assert found.groups == {"event": Use(60, 0, 1.5)}
    today = day_start(NOW)
    assert asked == [("bob", today), ("ann", NOW - 48 * HOUR), ("event", today)]
