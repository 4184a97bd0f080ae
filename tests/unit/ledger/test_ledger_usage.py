"""Usage: exact to the second, whatever happens in whatever order; history that can be cut off."""

from __future__ import annotations

import uuid
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from itertools import permutations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hub_ext.ledger import history, people, snapshots
from hub_ext.models import EPOCH, Device, Request
from hub_ext.policy import Policy, Pool
from hub_ext.service.report import summed
from hub_ext.usage import decayed_use

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
SLOTS = {"GPU-0": 1, "GPU-1": 1, "GPU-2": 4}
POLICY = Policy(pools=(Pool("quarters", ("GPU-2",), slots=4),), half_life=6 * HOUR)


@pytest.fixture
def pool(ledger, make_devices, now):
    ledger.set_policy(POLICY, now)
    ledger.record_inventory(make_devices(3), now)
    return ledger


def grant(ledger, user, devices, now, groups=()):
    share = SLOTS[devices[0]] > 1 if devices else False
    request = Request(user, "", len(devices), share=share, groups=groups)
    return ledger.acquire(request, lambda s: devices, now)


def rows(ledger, since, until, now):
    return {
        (str(u.day), u.user, u.group, u.device_uuid): u.seconds
        for u in ledger.usage(since.date(), until.date(), now)
    }


def test_sums_are_those_of_the_rows_whatever_they_are_by(pool, now):
    day = timedelta(days=1)
    for number, user in enumerate(("ann", "bob", "ann", "cyd")):
        lease = grant(
            pool, user, ["GPU-0"], now + number * day, groups=("red", "blue")[number % 2 :]
        )
        pool.end(lease.id, "stopped", now + number * day + timedelta(hours=20))
    grant(pool, "ann", ["GPU-1"], now + 3 * day, groups=("red",))  # live
    later = now + 5 * day
    whole = pool.usage(now.date(), later.date(), later)
    for size in range(1, 5):
        for by in permutations(("day", "user", "group", "device"), size):
            for since, until in ((now, later), (now + day, now + 3 * day)):
                mine = [u for u in whole if since.date() <= u.day <= until.date()]
                found = pool.usage_sums(since.date(), until.date(), later, by)
                assert summed(found, by) == summed(mine, by), by
    assert pool.usage_sums(now.date() - day, now.date() - day, later, ("user",)) == ()


def test_a_lease_over_midnights_is_split(pool, now):
    lease = grant(pool, "ann", ["GPU-0"], now)  # at noon
    end = now + timedelta(days=2, hours=1)
    expected = {
        ("2026-11-24", "ann", "", "GPU-0"): 12 * 3600.0,
        ("2026-11-25", "ann", "", "GPU-0"): 24 * 3600.0,
        ("2026-11-26", "ann", "", "GPU-0"): 13 * 3600.0,
    }
    assert rows(pool, now, end, end) == expected, "while it is live"
    pool.end(lease.id, "stopped", end)
    assert rows(pool, now, end, end + DAY) == expected, "when it has ended"
    day = now + DAY
    assert rows(pool, day, day, end) == {k: v for k, v in expected.items() if k[0] == "2026-11-25"}


def test_each_group_of_a_user_has_its_part(pool, now):
    lease = grant(pool, "ann", ["GPU-0", "GPU-1"], now, ("red", "students"))
    pool.end(lease.id, "stopped", now + HOUR)
    found = rows(pool, now, now, now + HOUR)
    assert found == {
        ("2026-11-24", "ann", group, device): 3600.0
        for group in ("", "red", "students")
        for device in ("GPU-0", "GPU-1")
    }
    assert pool.device_seconds("ann", now, now + HOUR) == 7200
    assert pool.group_device_seconds("red", now, now + HOUR) == 7200
    assert pool.group_device_seconds("blue", now, now + HOUR) == 0


def test_a_slot_counts_as_its_part_whatever_the_policy_says_later(pool, make_devices, now):
    lease = grant(pool, "ann", ["GPU-2"], now)
    pool.set_policy(Policy(pools=(Pool("halves", ("GPU-2",), slots=2),)))
    pool.record_inventory(make_devices(3), now)
    assert pool.device_seconds("ann", now, now + HOUR) == 900
    pool.end(lease.id, "stopped", now + HOUR)
    assert pool.device_seconds("ann", now, now + HOUR) == 900


def test_a_lease_without_devices_uses_nothing(pool, now):
    lease = grant(pool, "ann", [], now)
    pool.end(lease.id, "stopped", now + HOUR)
    assert rows(pool, now, now, now + HOUR) == {}
    assert pool.snapshot(now + HOUR).usage.get("ann", 0) == 0


def test_what_is_given_back_counts_until_then(pool, now):
    held = grant(pool, "ann", ["GPU-0", "GPU-1"], now, ("red",))
    pool.hold(held.id, now + 3 * HOUR, now)
    pool.mark_gone(held.id, now)
    pool.acquire(Request("ann", "", 1), lambda s: None, now + HOUR)
    other = grant(pool, "bob", ["GPU-1"], now + HOUR)
    pool.end(other.id, "stopped", now + 2 * HOUR)
    pool.end(held.id, "stopped", now + 3 * HOUR)
    assert rows(pool, now, now, now + DAY) == {
        ("2026-11-24", "ann", "", "GPU-0"): 3 * 3600.0,
        ("2026-11-24", "ann", "", "GPU-1"): 3600.0,
        ("2026-11-24", "ann", "red", "GPU-0"): 3 * 3600.0,
        ("2026-11-24", "ann", "red", "GPU-1"): 3600.0,
        ("2026-11-24", "bob", "", "GPU-1"): 3600.0,
    }
    assert pool.device_seconds("ann", now + HOUR / 2, now + DAY) == 2.5 * 3600 + 1800


def test_a_clock_that_was_set_back_counts_nothing(pool, now):
    lease = grant(pool, "ann", ["GPU-0"], now)
    pool.end(lease.id, "stopped", now - HOUR)
    assert rows(pool, now - DAY, now, now) == {}
    assert pool.snapshot(now).usage == {"ann": 0}


def test_a_hold_that_expires_is_counted(pool, now):
    lease = grant(pool, "ann", ["GPU-0"], now)
    pool.hold(lease.id, now + HOUR, now)
    pool.mark_gone(lease.id, now)
    pool.snapshot(now + 2 * HOUR)
    assert pool.device_seconds("ann", now, now + DAY) == 7200


START = datetime(2026, 3, 1, 22, 30, tzinfo=UTC)
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["ann", "bob", "cyd"]),
        st.sampled_from([["GPU-0"], ["GPU-1"], ["GPU-0", "GPU-1"], ["GPU-2"], []]),
        st.integers(0, 40 * 3600),
    ),
    max_size=12,
)


@settings(
    max_examples=settings.default.max_examples // 8,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(steps=STEPS, since_seconds=st.integers(0, 300_000))
def test_usage_adds_up_to_the_device_seconds_of_the_leases(ledger, steps, since_seconds):
    """Each step: some time passes, then a user's lease ends, or begins with these devices."""
    ledger.set_policy(POLICY)
    now = START
    ledger.record_inventory([Device(uuid_, "", 1) for uuid_ in SLOTS], now)
    run = uuid.uuid4().hex  # one ledger for all examples: users and groups of its own for each
    live: dict[str, tuple[str, list[str], datetime]] = {}
    spans: list[tuple[str, str, datetime, datetime]] = []
    for name, devices, seconds in steps:
        now += timedelta(seconds=seconds)
        user = f"{name}-{run}"
        if user in live:
            lease_id, held, began = live.pop(user)
            ledger.end(lease_id, "stopped", now)
            spans += [(user, device, began, now) for device in held]
            continue
        taken = [device for _, held, _ in live.values() for device in held]
        if all(taken.count(device) < SLOTS[device] for device in devices):
            live[user] = (grant(ledger, user, devices, now, (run,)).id, devices, now)
    now += HOUR
    spans += [(u, device, began, now) for u, (_, held, began) in live.items() for device in held]

    by_device: dict[tuple[str, str], float] = defaultdict(float)
    by_user: dict[str, float] = defaultdict(float)
    faded: dict[str, float] = defaultdict(float)
    since = START + timedelta(seconds=since_seconds)
    for user, device, began, ended in spans:
        part = 1 / SLOTS[device]
        by_device[user, device] += (ended - began).total_seconds() * part
        by_user[user] += max((ended - max(began, since)).total_seconds(), 0) * part
        faded[user] += decayed_use(part, began, ended, now, POLICY.half_life)

    found: dict[tuple[str, str], float] = defaultdict(float)
    of_group: dict[tuple[str, str], float] = defaultdict(float)
    for u in ledger.usage(START.date(), now.date(), now):
        if u.user.endswith(run):
            assert 0 < u.seconds <= 86400
            (of_group if u.group else found)[u.user, u.device_uuid] += u.seconds
    expected = {key: value for key, value in by_device.items() if value}
    assert found == pytest.approx(expected)
    assert of_group == pytest.approx(expected)
    for user, seconds in by_user.items():
        assert ledger.device_seconds(user, since, now) == pytest.approx(seconds)
    assert ledger.group_device_seconds(run, since, now) == pytest.approx(sum(by_user.values()))
    usage = ledger.snapshot(now).usage
    for user, amount in faded.items():
        assert usage[user] == pytest.approx(amount)
    for lease_id, _held, _began in live.values():
        ledger.end(lease_id, "the end of the example", now)


# -- history


def test_the_typical_lease_is_the_median_of_the_latest(pool, now, monkeypatch):
    monkeypatch.setattr(snapshots, "_TYPICAL_OF", 6)
    for number in range(4):
        lease = grant(pool, "ann", ["GPU-0"], now)
        pool.end(lease.id, "stopped", now + (number + 1) * MINUTE)
    for _ in range(3):
        pool.end(grant(pool, "bob", [], now).id, "stopped", now + DAY)
    assert pool.snapshot(now).typical_lease is None, "four with devices are too few"
    pool.end(grant(pool, "ann", ["GPU-0"], now).id, "stopped", now + HOUR)
    assert pool.snapshot(now).typical_lease == 3 * MINUTE
    for _ in range(6):
        pool.end(grant(pool, "ann", ["GPU-0"], now).id, "stopped", now + 2 * HOUR)
    assert pool.snapshot(now).typical_lease == 2 * HOUR


def test_pruning_takes_what_ended_before_and_keeps_usage(pool, now, monkeypatch):
    monkeypatch.setattr(history, "AT_ONCE", 2)
    old = [grant(pool, "ann", ["GPU-0"], now)]
    pool.end(old[0].id, "stopped", now + MINUTE)
    for _ in range(4):
        old.append(grant(pool, "ann", ["GPU-0"], now + MINUTE))
        pool.end(old[-1].id, "stopped", now + 2 * MINUTE)
    live = grant(pool, "bob", ["GPU-1"], now)
    edge = grant(pool, "ann", ["GPU-0"], now + 2 * MINUTE)
    pool.end(edge.id, "stopped", now + HOUR)
    usage = pool.usage(now.date(), now.date(), now + HOUR)
    assert pool.prune(now + HOUR) == 5
    assert [lease.id for lease in pool.leases(include_ended=True)] == [live.id, edge.id]
    assert pool.usage(now.date(), now.date(), now + HOUR) == usage
    assert {e.lease_id for e in pool.audit_trail()} == {live.id, edge.id}
    assert [e.action for e in pool.audit_trail(live.id)] == ["grant"]
    assert pool.prune(now + HOUR) == 0
    assert pool.snapshot(now + HOUR).leases == (live,)


def test_pruning_forgets_use_that_has_faded(pool, now):
    pool.end(grant(pool, "ann", ["GPU-0"], now).id, "stopped", now + HOUR)
    pool.end(grant(pool, "bob", ["GPU-0"], now).id, "stopped", now + 60 * HOUR)
    pool.prune(now + 61 * HOUR)
    seen = pool.snapshot(now + 61 * HOUR).usage
    assert set(seen) == {"ann", "bob"}, "an hour counts 4 seconds after nine half-lives"
    pool.prune(now + 80 * HOUR)
    assert set(pool.snapshot(now + 80 * HOUR).usage) == {"bob"}


def test_pruning_keeps_the_day_on_which_an_event_began(pool, now):
    """Usage has whole days only; what counts of that day is told by its leases."""
    pool.set_policy(Policy(event_start=now + 2 * HOUR))
    for hours in (1, 3, 30):
        lease = grant(pool, "ann", ["GPU-0"], now)
        pool.end(lease.id, "stopped", now + hours * HOUR)
    before = pool.device_seconds("ann", now + 2 * HOUR, now + 40 * HOUR)
    assert before == (1 + 28) * 3600
    assert pool.prune(now + 100 * HOUR) == 1
    assert pool.device_seconds("ann", now + 2 * HOUR, now + 40 * HOUR) == before


@pytest.mark.parametrize("most_named", [100, 1], ids=["few", "many"])
def test_the_use_of_many_is_that_of_each(ledger, make_devices, now, monkeypatch, most_named):
    """Ended, live and shared leases, from midnight on and from the middle of a day."""
    monkeypatch.setattr(people, "MOST_NAMED", most_named)
    ledger.set_policy(Policy(pools=(Pool("halves", ("GPU-0",), slots=2),)))
    ledger.record_inventory(make_devices(4), now - timedelta(days=4))
    for number, user in enumerate(("ann", "bob", "cyd", "dan")):
        began = now - timedelta(days=3, hours=number)
        share = number < 2
        uuid = "GPU-0" if share else f"GPU-{number}"
        lease = ledger.acquire(
            Request(user, "", 1, share=share), lambda s, uuid=uuid: [uuid], began
        )
        if number % 2:
            ledger.end(lease.id, "stopped", began + timedelta(hours=30))
    users = ["ann", "bob", "cyd", "dan", "eve"]
    for since in (now - timedelta(days=9), now - timedelta(days=2, hours=5), now, EPOCH):
        assert ledger.device_seconds_of(users, since, now) == pytest.approx(
            {user: ledger.device_seconds(user, since, now) for user in users}
        )
        # whoever stands between them is not among them
        assert ledger.device_seconds_of(["ann", "dan"], since, now) == pytest.approx(
            {user: ledger.device_seconds(user, since, now) for user in ("ann", "dan")}
        )
    first, last = (now - timedelta(days=5)).date(), now.date()
    for user in users:
        assert ledger.usage_of(user, first, last, now) == tuple(
            row for row in ledger.usage(first, last, now) if row.user == user
        )
    assert ledger.users(limit=10) == ("ann", "bob", "cyd", "dan")
    assert ledger.users(after="ann", limit=2) == ("bob", "cyd")


@pytest.mark.parametrize("most_named", [100, 1], ids=["few", "many"])
def test_users_come_in_the_order_of_code_points(ledger, now, monkeypatch, most_named):
    monkeypatch.setattr(people, "MOST_NAMED", most_named)
    users = ["Zoe", "ann", "zoe", "Öre", "_x", "张"]
    for user in users:
        ledger.enqueue(Request(user, "", 1), now)
    assert ledger.users(limit=10) == tuple(sorted(users))
    found: list[str] = []
    while page := ledger.users(after=found[-1] if found else "", limit=2):
        found += page
    assert found == sorted(users)
    assert ledger.servers_of(["ann", "张", "nobody"]) == {("ann", ""), ("张", "")}
