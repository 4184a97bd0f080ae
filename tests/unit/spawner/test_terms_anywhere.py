"""When a server may be stopped, and when it must not, in any world."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st
from term_cases import (
    EXPIRED,
    HOUR,
    MINUTE,
    NOW,
    RECLAIMED,
    REVOKED,
    devices,
    lease,
    waiting,
)

from hub_ext.demand import Demand
from hub_ext.models import (
    Cordon,
    Device,
    LeaseState,
    Revocation,
)
from hub_ext.policy import Policy, Rule
from hub_ext.terms import (
    CLOSE,
    STEP,
    AutoExtend,
    MarkIdle,
    ShortenForQuota,
    StopServer,
    Watch,
    look,
    may_be_extended_by,
    review,
    revocation,
)
from hub_ext.usage import QuotaUse, Use

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
