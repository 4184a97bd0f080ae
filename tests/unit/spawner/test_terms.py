"""When a server may be stopped, and when it must not: one by one, and for any world."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub_ext.demand import Demand
from hub_ext.models import (
    Cordon,
    Device,
    DeviceRecord,
    DeviceState,
    Lease,
    LeaseState,
    NoticeKind,
    QueueEntry,
    Request,
    Revocation,
)
from hub_ext.policy import Policy, Rule
from hub_ext.terms import (
    CLOSE,
    GAP,
    STEP,
    AutoExtend,
    ExtendRefusal,
    MarkIdle,
    ShortenForQuota,
    StopServer,
    Watch,
    look,
    may_be_extended_by,
    may_extend,
    review,
    revocation,
)
from hub_ext.usage import QuotaUse, Use

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
LONG = Watch(NOW - 10 * HOUR, NOW)  # looking for long
IDLE = Policy(idle_after=20 * MINUTE)
EXPIRED, RECLAIMED = NoticeKind.LEASE_EXPIRED, NoticeKind.LEASE_RECLAIMED
REVOKED = NoticeKind.STOPPED_AS_REVOKED


def lease(name: str = "a", *, uuids: tuple[str, ...] | None = None, **what) -> Lease:
    return Lease(
        f"l-{name}", f"user-{name}", "", what.pop("state", LeaseState.RUNNING),
        uuids or (f"GPU-{name}",), NOW - 5 * HOUR, **what,
    )  # fmt: skip


def devices(leases, *free: str, draining=()) -> list[DeviceRecord]:
    uuids = sorted({*free, *(uuid for each in leases for uuid in each.device_uuids)})
    return [
        DeviceRecord(
            Device(uuid, "", 1),
            DeviceState.HEALTHY,
            NOW,
            lease_ids=tuple(each.id for each in leases if uuid in each.device_uuids),
            cordon=Cordon.DRAINING if uuid in draining else Cordon.NONE,
        )
        for uuid in uuids
    ]


def doing_nothing(leases, **what) -> dict[str, Device]:
    facts = {"compute_processes": 0, "utilization_percent": 0} | what
    return {uuid: Device(uuid, "", 1, **facts) for each in leases for uuid in each.device_uuids}


def waiting(*gpus: int) -> list[QueueEntry]:
    return [
        QueueEntry(Request(f"waits-{number}", "", count), number, NOW)
        for number, count in enumerate(gpus)
    ]


def at(leases, wait=(), policy=IDLE, now=NOW, *, seen=None, records=None, **rest):
    rest.setdefault("watch", LONG)
    seen = {} if seen is None else seen
    return review(leases, seen, wait, records or devices(leases), policy, now, **rest)


def stop(each: Lease, kind=EXPIRED) -> StopServer:
    return StopServer(each.id, each.user, each.server, kind)


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


# -- what users may do


def extend(each: Lease, wait=(), policy=IDLE, records=None, **rest):
    return may_extend(each, wait, records or devices([each]), policy, NOW, **rest)


def test_a_user_may_extend_while_nobody_waits():
    running = lease(expires_at=NOW + 2 * HOUR)
    assert extend(running) == (NOW + 3 * HOUR, "")
    assert extend(running, waiting(1)) == (None, ExtendRefusal.WAITED_FOR)
    assert extend(running, waiting(1), records=devices([running], "GPU-free"))[0]
    assert extend(replace(running, expires_at=NOW - MINUTE)) == (NOW + HOUR, "")


def test_nobody_piles_up_more_than_a_term():
    running = lease(expires_at=NOW + 7.5 * HOUR)
    assert extend(running) == (NOW + 8 * HOUR, "")
    assert extend(replace(running, expires_at=NOW + 8 * HOUR)) == (None, ExtendRefusal.FULL)
    endless = replace(IDLE, default=Rule(priority=0, lease_hours=None))
    assert extend(running, policy=endless) == (NOW + 8.5 * HOUR, "")


def test_why_an_extension_is_refused():
    running = lease(expires_at=NOW + HOUR)
    assert extend(lease()) == (None, ExtendRefusal.NO_END)
    held = replace(running, state=LeaseState.HELD)
    assert extend(held) == (None, ExtendRefusal.NOT_RUNNING)
    drained = devices([running], draining=["GPU-a"])
    assert extend(running, records=drained) == (None, ExtendRefusal.DRAINING)
    limited = replace(IDLE, default=Rule(priority=0, lease_hours=8, device_hours=2))
    use = QuotaUse({"user-a": Use(event=3600, devices=1)})
    assert extend(running, policy=limited, used=use) == (None, ExtendRefusal.QUOTA)
    use = QuotaUse({"user-a": Use(event=1800, devices=1)})
    assert extend(running, policy=limited, used=use) == (NOW + 1.5 * HOUR, "")


# -- what admins and instructors may do


def revoked(minutes: int, notice: int = 30, **what) -> Lease:
    """A lease whose revocation is over in so many minutes."""
    until = NOW + minutes * MINUTE
    said = Revocation(until - notice * MINUTE, until, "root", "the exam begins")
    return lease(expires_at=min(until, what.pop("expires_at", until)), revocation=said, **what)


def test_a_revoked_lease_ends_though_nobody_waits():
    it = revoked(0)
    assert at([it]) == (stop(it, REVOKED),)
    assert at([revoked(1)]) == ()
    assert at([it], resetting={("user-a", "")}) == ()


def test_a_revoked_lease_whose_term_is_over_goes_on_until_its_notice_period_is():
    it = revoked(7, expires_at=NOW)
    assert at([it]) == (AutoExtend("l-a", NOW + 7 * MINUTE),)
    assert at([it], waiting(1)) == (stop(it),)  # as any other
    assert at([revoked(60, expires_at=NOW)]) == (AutoExtend("l-a", NOW + STEP),)


def test_at_once_is_at_once_and_a_notice_is_a_notice():
    """A service that was away has told nobody how much time is left."""
    back = Watch(NOW - MINUTE, NOW)
    at_once, with_notice = revoked(-1, notice=0), revoked(-1, notice=30)
    assert at([at_once], watch=back) == (stop(at_once, REVOKED),)
    assert at([with_notice], watch=back) == ()
    later = NOW + 4 * MINUTE
    assert at([with_notice], now=later, watch=look(replace(back, last=later), later)) == (
        stop(with_notice, REVOKED),
    )


def test_the_user_of_a_revoked_lease_may_not_extend_it():
    assert extend(revoked(20)) == (None, ExtendRefusal.REVOKED)


def test_an_admin_may_give_more_than_the_user_may_ask_for():
    def give(each, minutes, records=None, policy=IDLE, **rest):
        records = records or devices([each])
        return may_be_extended_by(each, minutes * MINUTE, records, policy, NOW, **rest)

    running = lease(expires_at=NOW + 8 * HOUR)
    assert extend(running, waiting(1))[0] is None
    assert give(running, 600) == (NOW + 18 * HOUR, "")
    assert give(replace(running, expires_at=NOW - HOUR), 60) == (NOW + HOUR, "")
    drained = devices([running], draining=["GPU-a"])
    assert give(running, 1, drained) == (None, ExtendRefusal.DRAINING)
    assert give(revoked(20), 1) == (None, ExtendRefusal.REVOKED)
    assert give(lease(), 1) == (None, ExtendRefusal.NO_END)
    held = replace(running, state=LeaseState.HELD)
    assert give(held, 1) == (None, ExtendRefusal.NOT_RUNNING)
    limited = replace(IDLE, default=Rule(priority=0, device_hours=12))
    use = QuotaUse({"user-a": Use(event=3 * 3600, devices=1)})
    assert give(running, 60, policy=limited, used=use) == (NOW + 9 * HOUR, "")
    assert give(running, 61, policy=limited, used=use) == (None, ExtendRefusal.QUOTA)
    use = QuotaUse({"user-a": Use(event=4 * 3600, devices=1)})
    assert give(running, 1, policy=limited, used=use) == (None, ExtendRefusal.QUOTA)


# -- any world

moments = st.integers(-90, 90).map(lambda minutes: NOW + minutes * MINUTE)
past = st.integers(-90, 0).map(lambda minutes: NOW + minutes * MINUTE)
NAMES = "abcde"


@st.composite
def ends(draw):
    """The end of a lease, and the revocation that may be it."""
    expires_at = draw(st.none() | moments)
    if draw(st.integers(0, 2)):
        return {"expires_at": expires_at}
    at = draw(past)
    until = at + draw(st.sampled_from([0, 1, 10, 30, 60])) * MINUTE
    return {
        "expires_at": until if expires_at is None else min(expires_at, until),
        "revocation": Revocation(at, until, "root", "the exam begins"),
    }


@st.composite
def worlds(draw):
    policy = Policy(
        default=Rule(priority=0, device_hours=draw(st.none() | st.floats(0.1, 3))),
        extension=draw(st.sampled_from([0, 1, 10, 60])) * MINUTE,
        auto_extend=draw(st.booleans()),
        warnings=draw(st.sampled_from([(), (5 * MINUTE,), (30 * MINUTE, 10 * MINUTE)])),
        idle_after=draw(st.none() | st.just(20 * MINUTE)),
    )
    leases = [
        lease(
            name,
            uuids=(f"GPU-{name}1", f"GPU-{name}2")[: draw(st.integers(1, 2))],
            state=draw(st.sampled_from([LeaseState.RUNNING, *LeaseState])),
            **draw(ends()),
            idle_since=draw(st.none() | past),
            reclaim_at=draw(st.none() | st.integers(-90, 9).map(lambda m: NOW + m * MINUTE)),
        )
        for name in sorted(draw(st.sets(st.sampled_from(NAMES))))
    ]
    live = [each for each in leases if each.state is not LeaseState.ENDED]
    everything = [uuid for each in leases for uuid in each.device_uuids]
    records = devices(
        live, *everything, draining=draw(st.sets(st.sampled_from(everything))) if everything else ()
    )
    seen = {
        uuid: Device(
            uuid,
            "",
            1,
            compute_processes=draw(st.sampled_from([0, 0, 0, 1, None])),
            utilization_percent=draw(st.sampled_from([0, 3, 3, 50, None])),
        )  # fmt: skip
        for uuid in everything
        if draw(st.integers(0, 9))
    }
    wait = waiting(*draw(st.lists(st.integers(0, 3), max_size=3)))
    use = {
        each.user: Use(event=draw(st.floats(0, 3 * 3600)), devices=len(each.device_uuids))
        for each in live
    }
    watch = Watch(draw(past), NOW)
    resetting = {(f"user-{name}", "") for name in draw(st.sets(st.sampled_from(NAMES), max_size=2))}
    return policy, live, records, seen, wait, QuotaUse(use), watch, resetting


def judged(world, now=NOW):
    policy, leases, records, seen, wait, used, watch, resetting = world
    return review(leases, seen, wait, records, policy, now, resetting, used, watch=watch)


def applied(world, actions):
    """The world after the actions: a server that was stopped gives its devices back."""
    policy, leases, records, seen, wait, used, watch, resetting = world
    state = {each.id: each for each in leases}
    for action in actions:
        match action:
            case AutoExtend(lease_id, until) | ShortenForQuota(lease_id, until):
                state[lease_id] = replace(state[lease_id], expires_at=until)
            case MarkIdle(lease_id, since, reclaim_at):
                state[lease_id] = replace(state[lease_id], idle_since=since, reclaim_at=reclaim_at)
    for action in actions:
        if isinstance(action, StopServer):
            del state[action.lease_id]
    left = list(state.values())
    records = [
        replace(each, lease_ids=tuple(i for i in each.lease_ids if i in state)) for each in records
    ]
    return policy, left, records, seen, wait, used, watch, resetting


MANY = settings(max_examples=2 * settings.default.max_examples)


@MANY
@given(worlds())
def test_a_stop_has_its_reason(world):
    policy, leases, records, seen, wait, used, watch, resetting = world
    by_id = {each.id: each for each in leases}
    stops = [each for each in judged(world) if isinstance(each, StopServer)]
    for action in stops:
        it = by_id[action.lease_id]
        wanted = Demand(wait, records, leases, policy).wants(it)
        assert it.state is LeaseState.RUNNING
        assert (it.user, it.server) not in resetting
        if action.kind is RECLAIMED:
            assert policy.idle_after is not None
            assert it.reclaim_at is not None and it.reclaim_at <= NOW
            assert watch.since <= it.idle_since <= NOW - policy.idle_after
            assert wanted
            for uuid in it.device_uuids:
                assert seen[uuid].compute_processes == 0
                assert seen[uuid].utilization_percent <= policy.idle_utilization_percent
            continue
        assert it.expires_at <= NOW
        shortest = min(policy.warnings, default=timedelta(0))
        if action.kind is REVOKED:
            assert it.revocation.until <= NOW
            assert NOW - watch.since >= min(shortest, it.revocation.until - it.revocation.at)
            continue
        assert it.revocation is None or it.revocation.until > NOW
        assert NOW - watch.since >= shortest
        left = policy.default.device_hours
        short = left is not None and left * 3600 - used.users[it.user].event < CLOSE.seconds * 2
        draining = any(
            each.cordon is Cordon.DRAINING for each in records if it.id in each.lease_ids
        )
        assert short or (action.kind is EXPIRED)
        assert short or draining or wanted or not policy.auto_extend or not policy.extension
    assert len(stops) == len({each.lease_id for each in stops})


@MANY
@given(worlds())
def test_a_revoked_lease_ends_at_the_latest_when_it_was_said(world):
    """Once the service has looked long enough, whoever waits, and whatever the policy says."""
    *_, watch, resetting = world
    stopped = {each.lease_id for each in judged(world) if isinstance(each, StopServer)}
    for it in world[1]:
        if (
            it.revocation is not None
            and it.revocation.until <= NOW - HOUR <= NOW - (it.revocation.until - it.revocation.at)
            and NOW - watch.since >= HOUR
            and it.state is LeaseState.RUNNING
            and (it.user, it.server) not in resetting
        ):
            assert it.id in stopped


revocations = st.none() | st.builds(
    lambda at, minutes: Revocation(at, at + minutes * MINUTE, "root", ""),
    past, st.integers(0, 200),
)  # fmt: skip


@MANY
@given(revocations, st.integers(-5, 10_000), st.none() | moments)
def test_to_revoke_never_lengthens_and_never_comes_before_the_notice(before, minutes, expires_at):
    it = lease(expires_at=expires_at, revocation=before)
    said = revocation(it, minutes * MINUTE, "kim", "the exam", NOW)
    if said is None:
        assert before.until <= NOW + max(minutes, 0) * MINUTE
        return
    assert said == Revocation(NOW, NOW + max(minutes, 0) * MINUTE, "kim", "the exam")
    assert before is None or said.until < before.until
    # said twice is said once
    assert revocation(replace(it, revocation=said), minutes * MINUTE, "kim", "", NOW) is None
    later = NOW + 3 * MINUTE
    assert revocation(replace(it, revocation=said), minutes * MINUTE, "kim", "", later) is None


@MANY
@given(worlds(), st.integers(1, 10_000).map(lambda minutes: minutes * MINUTE))
def test_what_an_admin_may_give_lasts(world, time):
    """It is later than before, and no drain, no revocation and no quota ends it sooner."""
    policy, leases, records, seen, wait, used, watch, _resetting = world
    for it in leases:
        until, refusal = may_be_extended_by(it, time, records, policy, NOW, used)
        assert (until is None) == bool(refusal)
        if until is None:
            continue
        assert until == max(it.expires_at, NOW) + time > it.expires_at
        assert it.revocation is None and it.state is LeaseState.RUNNING
        held = [each for each in records if it.id in each.lease_ids]
        assert not any(each.cordon is Cordon.DRAINING for each in held)
        longer = [replace(each, expires_at=until) if each is it else each for each in leases]
        after = (policy, longer, records, seen, wait, used, watch, ())
        assert all(
            action.lease_id != it.id or action.until >= until - CLOSE
            for action in judged(after)
            if isinstance(action, ShortenForQuota)
        )


@MANY
@given(worlds())
def test_no_more_leases_end_than_somebody_needs(world):
    policy, leases, records, seen, wait, *_ = world
    demand = Demand(wait, records, leases, policy)
    missing = sum(entry.request.gpus for entry in wait)
    assert sum(demand.take(each) for each in leases) <= missing
    optional = [
        each for each in judged(world) if isinstance(each, StopServer) and each.kind is RECLAIMED
    ]
    assert len(optional) <= missing


@MANY
@given(worlds())
def test_who_goes_on_is_not_waited_for_and_has_not_used_up_anything(world):
    policy, leases, records, seen, wait, used, watch, resetting = world
    by_id = {each.id: each for each in leases}
    actions = judged(world)
    ended = {each.lease_id for each in actions if isinstance(each, StopServer)}
    for action in actions:
        if isinstance(action, AutoExtend):
            it = by_id[action.lease_id]
            assert policy.auto_extend and it.expires_at <= NOW < action.until <= NOW + STEP
            assert it.revocation is None or action.until <= it.revocation.until
            assert it.id not in ended
        if isinstance(action, ShortenForQuota):
            it = by_id[action.lease_id]
            assert policy.default.device_hours is not None
            assert action.until >= NOW
            assert it.expires_at is None or action.until < it.expires_at
        if isinstance(action, MarkIdle) and action.reclaim_at is not None:
            it = by_id[action.lease_id]
            assert it.reclaim_at is None and action.reclaim_at == NOW + policy.idle_answer
            assert it.idle_since == action.since <= NOW - policy.idle_after


@MANY
@given(worlds())
def test_applied_twice_is_applied_once(world):
    after = applied(world, judged(world))
    assert judged(after) == ()


@MANY
@given(worlds(), st.lists(st.integers(0, 30), min_size=1, max_size=12))
def test_through_any_hours_nobody_is_taken_by_surprise(world, waits):
    """Looks in any distance, with gaps: each stop was visible before it came."""
    policy, *_, watch, _ = world
    now = NOW
    first_seen: dict[str, datetime] = {}  # since when a warning of a reclaim stands
    for minutes in waits:
        now += minutes * MINUTE
        watch = look(watch, now)
        world = (*world[:6], watch, world[7])
        by_id = {each.id: each for each in world[1]}
        actions = judged(world, now)
        for action in actions:
            if isinstance(action, MarkIdle):
                first_seen.pop(action.lease_id, None)
                if action.reclaim_at is not None:
                    first_seen[action.lease_id] = now
            if isinstance(action, StopServer) and action.kind is RECLAIMED:
                if action.lease_id in first_seen:  # else it was warned before this test began
                    assert now - first_seen[action.lease_id] >= policy.idle_answer
                assert now - watch.since >= policy.idle_after
            elif isinstance(action, StopServer):
                it = by_id[action.lease_id]
                assert it.expires_at <= now
                patience = min(policy.warnings, default=timedelta(0))
                if action.kind is REVOKED:
                    patience = min(patience, it.revocation.until - it.revocation.at)
                assert now - watch.since >= patience
        world = applied(world, actions)
