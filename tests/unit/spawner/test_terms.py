"""When a server may be stopped, and when it must not, one by one."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from term_cases import (
    HOUR,
    IDLE,
    LONG,
    MINUTE,
    NOW,
    RECLAIMED,
    at,
    devices,
    doing_nothing,
    lease,
    stop,
    waiting,
)

from hub_ext.models import (
    Lease,
    LeaseState,
    NoticeKind,
)
from hub_ext.policy import Policy, Rule
from hub_ext.terms import (
    GAP,
    STEP,
    AutoExtend,
    MarkIdle,
    ShortenForQuota,
    StopServer,
    Watch,
    look,
)
from hub_ext.usage import QuotaUse, Use

# -- the end of a term


def test_a_term_that_is_over_goes_on_while_nobody_waits():
    over = lease(expires_at=NOW)
    assert at([over]) == (AutoExtend("l-a", NOW + STEP),)
    assert at([over], policy=replace(IDLE, extension=5 * MINUTE)) == (
        AutoExtend("l-a", NOW + 5 * MINUTE),
    )


def test_a_term_that_is_over_ends_when_somebody_waits():
    over = lease(expires_at=NOW)
    assert at([over], waiting(1)) == (stop(over),)
    assert at([replace(over, expires_at=NOW + MINUTE)], waiting(1)) == ()


def test_only_as_many_end_as_those_who_wait_need():
    """All of a class end at five, and one waits: one ends, the others go on."""
    leases = [lease(name, expires_at=NOW - MINUTE * number) for number, name in enumerate("abcd")]
    actions = at(leases, waiting(2))
    assert [each for each in actions if isinstance(each, StopServer)] == [
        stop(leases[3]),
        stop(leases[2]),
    ]
    assert {each.lease_id for each in actions if isinstance(each, AutoExtend)} == {"l-a", "l-b"}


def test_who_has_just_come_and_finds_a_free_device_ends_nobody():
    over = lease(expires_at=NOW)
    assert at([over], waiting(1), records=devices([over], "GPU-free")) == (
        AutoExtend("l-a", NOW + STEP),
    )


def test_what_ends_without_auto_extension():
    over = lease(expires_at=NOW)
    assert at([over], policy=replace(IDLE, auto_extend=False)) == (stop(over),)
    assert at([over], policy=replace(IDLE, extension=timedelta(0))) == (stop(over),)
    drained = devices([over], draining=["GPU-a"])
    assert at([over], records=drained) == (stop(over),)
    spent = QuotaUse({"user-a": Use(event=3600, devices=1)})
    limited = replace(IDLE, default=Rule(priority=0, device_hours=1))
    assert at([over], policy=limited, used=spent) == (stop(over, NoticeKind.QUOTA_USED_UP),)


def test_what_ends_anyway_serves_those_who_wait_first():
    drained, other = lease("z", expires_at=NOW), lease("b", expires_at=NOW - HOUR)
    leases = [drained, other]
    # its device is drained: the one who waits cannot have it, and the other ends, too
    records = devices(leases, draining=["GPU-z"])
    assert set(at(leases, waiting(1), records=records)) == {stop(drained), stop(other)}
    spent = QuotaUse({"user-z": Use(event=3600, devices=1)})
    limited = replace(IDLE, default=Rule(priority=0, device_hours=1))
    assert set(at(leases, waiting(1), limited, used=spent)) == {
        stop(drained, NoticeKind.QUOTA_USED_UP),
        AutoExtend("l-b", NOW + STEP),
    }


@pytest.mark.parametrize("state", [LeaseState.GRANTED, LeaseState.HELD, LeaseState.ENDED])
def test_only_running_leases_are_acted_on(state):
    assert at([lease(state=state, expires_at=NOW - HOUR)], waiting(1)) == ()


def test_a_server_that_is_reset_is_left_alone():
    over = lease(expires_at=NOW - HOUR)
    assert at([over], waiting(1), resetting={("user-a", "")}) == ()


def test_a_lease_without_devices_or_without_a_term_does_not_end():
    assert at([Lease("l", "u", "", LeaseState.RUNNING, (), NOW)], waiting(1)) == ()
    assert at([lease()], waiting(1)) == ()


# -- nobody looked


def test_the_watch_starts_anew_after_a_gap_and_when_the_clock_jumps():
    first = look(None, NOW)
    assert first == Watch(NOW, NOW)
    assert look(first, NOW + GAP) == Watch(NOW, NOW + GAP)
    for jump in (NOW + GAP + timedelta(seconds=1), NOW - timedelta(seconds=1)):
        assert look(first, jump) == Watch(jump, jump)


def test_a_service_that_was_away_stops_nobody_before_they_can_see_it():
    over = lease(expires_at=NOW - 3 * HOUR)
    back = Watch(NOW, NOW)
    assert at([over], waiting(1), watch=back) == ()
    assert at([over], watch=back) == (AutoExtend("l-a", NOW + STEP),)
    soon = NOW + 5 * MINUTE  # the shortest warning
    assert at([over], waiting(1), now=soon - MINUTE, watch=back) == ()
    assert at([over], waiting(1), now=soon, watch=back) == (stop(over),)


def test_what_nobody_saw_idle_is_not_taken_back():
    """Warned before the service went away: the user may have answered, or worked, meanwhile."""
    warned = lease(idle_since=NOW - 2 * HOUR, reclaim_at=NOW - HOUR)
    seen = doing_nothing([warned])
    assert at([warned], waiting(1), seen=seen, watch=Watch(NOW, NOW)) == (
        MarkIdle("l-a", NOW, None),
    )


def test_a_clock_that_jumped_ahead_takes_nothing_back():
    warned = lease(idle_since=NOW - 25 * MINUTE, reclaim_at=NOW + 5 * MINUTE, expires_at=NOW + HOUR)
    later = NOW + 9 * HOUR
    actions = at([warned], waiting(1), now=later, seen=doing_nothing([warned]),
                 watch=look(LONG, later))  # fmt: skip
    assert actions == (MarkIdle("l-a", later, None),)


# -- idle devices


def test_the_way_of_an_idle_lease():
    it = lease()
    seen = doing_nothing([it])

    somebody = waiting(1)

    def step(now, wait=somebody):
        nonlocal it
        actions = at([it], wait, now=now, seen=seen)
        for each in actions:
            if isinstance(each, MarkIdle):
                it = replace(it, idle_since=each.since, reclaim_at=each.reclaim_at)
        return actions

    assert step(NOW) == (MarkIdle("l-a", NOW, None),)
    assert step(NOW + 19 * MINUTE) == ()
    assert step(NOW + 20 * MINUTE, wait=()) == ()  # nobody needs it
    assert step(NOW + 30 * MINUTE) == (MarkIdle("l-a", NOW, NOW + 40 * MINUTE),)
    assert step(NOW + 35 * MINUTE, wait=()) == (MarkIdle("l-a", NOW, None),)
    assert step(NOW + 36 * MINUTE) == (MarkIdle("l-a", NOW, NOW + 46 * MINUTE),)
    assert step(NOW + 45 * MINUTE) == ()
    assert step(NOW + 46 * MINUTE) == (stop(it, RECLAIMED),)
    it = replace(it, idle_since=NOW + 45 * MINUTE, reclaim_at=None)  # "I am using it"
    assert step(NOW + 46 * MINUTE) == ()
    assert step(NOW + 64 * MINUTE) == ()
    assert step(NOW + 65 * MINUTE) == (MarkIdle("l-a", NOW + 45 * MINUTE, NOW + 75 * MINUTE),)


@pytest.mark.parametrize(
    "facts",
    [
        {"compute_processes": 1},
        {"compute_processes": None},
        {"utilization_percent": 4},
        {"utilization_percent": None},
    ],
)
def test_activity_that_is_there_or_not_known_ends_the_count(facts):
    warned = lease(idle_since=NOW - HOUR, reclaim_at=NOW)
    for seen in (doing_nothing([warned], **facts), {}):
        assert at([warned], waiting(1), seen=seen) == (MarkIdle("l-a", None, None),)


def test_one_busy_device_of_several_is_enough():
    warned = lease(uuids=("GPU-1", "GPU-2"), idle_since=NOW - HOUR, reclaim_at=NOW)
    seen = doing_nothing([warned])
    seen["GPU-2"] = replace(seen["GPU-2"], utilization_percent=90)
    assert at([warned], waiting(1), seen=seen) == (MarkIdle("l-a", None, None),)


def test_no_more_are_warned_than_those_who_wait_need():
    leases = [lease(name, idle_since=NOW - HOUR - MINUTE * n) for n, name in enumerate("abc")]
    seen = doing_nothing(leases)
    assert at(leases, waiting(1), seen=seen) == (
        MarkIdle("l-c", NOW - HOUR - 2 * MINUTE, NOW + IDLE.idle_answer),
    )


def test_nothing_is_taken_back_where_the_policy_does_not_say_so():
    warned = lease(idle_since=NOW - HOUR, reclaim_at=NOW)
    assert at([warned], waiting(1), Policy(), seen=doing_nothing([warned])) == (
        MarkIdle("l-a", None, None),
    )


# -- quotas


def test_a_quota_that_runs_out_shortens_the_lease_in_time_for_the_warnings():
    running = lease(expires_at=NOW + 3 * HOUR)
    limited = replace(IDLE, default=Rule(priority=0, device_hours=2))

    def after(used_minutes: float, now=NOW):
        use = QuotaUse({"user-a": Use(event=used_minutes * 60, devices=1)})
        return at([running], policy=limited, used=use, now=now)

    assert after(89) == ()  # 31 minutes left: no warning is due
    assert after(91) == (ShortenForQuota("l-a", NOW + 29 * MINUTE),)
    assert after(130) == (ShortenForQuota("l-a", NOW + 5 * MINUTE),)  # another server's doing
    running = replace(running, expires_at=NOW + 29 * MINUTE)
    assert after(91.5) == ()  # the same moment, but for what rounding does
    endless = lease()
    use = QuotaUse({"user-a": Use(event=95 * 60, devices=1)})
    assert at([endless], policy=limited, used=use) == (ShortenForQuota("l-a", NOW + 25 * MINUTE),)


def test_going_on_by_itself_ends_with_the_quota():
    limited = replace(IDLE, default=Rule(priority=0, device_hours=2))
    use = QuotaUse({"user-a": Use(event=113 * 60, devices=1)})
    assert at([lease(expires_at=NOW)], policy=limited, used=use) == (
        AutoExtend("l-a", NOW + 7 * MINUTE),
    )
