"""Reconciling is pure: these are its promises, for any ledger and any Engine."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from hub_ext.models import Lease, LeaseState
from hub_ext.reconcile import (
    AdoptContainer,
    ContainerFact,
    EndLease,
    MarkGone,
    Patience,
    RemoveContainer,
    plan,
)

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
LONG = timedelta(hours=1)


def lease(state: LeaseState = LeaseState.RUNNING, id_: str = "l1", user: str = "ada") -> Lease:
    return Lease(id_, user, "", state, ("GPU-a",), NOW)


def container(lease_id: str = "l1", *, running: bool = True, id_: str = "c1") -> ContainerFact:
    return ContainerFact(id_, lease_id, "ada", "", running)


def settle(leases, containers, **kwargs):
    """The actions once everything has been odd for long."""
    first = plan(leases, containers, NOW, odd_since={}, **kwargs)
    return plan(leases, containers, NOW + LONG, odd_since=first.odd_since, **kwargs).actions


def test_a_running_lease_whose_container_is_gone_ends_at_the_second_look():
    first = plan([lease()], [], NOW, odd_since={})
    assert first.actions == ()
    later = NOW + Patience().running_without_container
    second = plan([lease()], [], later, odd_since=first.odd_since)
    assert second.actions == (EndLease("l1", "its container is gone"),)


def test_a_container_that_was_only_missed_once_is_forgotten():
    first = plan([lease()], [], NOW, odd_since={})
    back = plan([lease()], [container()], NOW + LONG, odd_since=first.odd_since)
    assert (back.actions, back.odd_since) == ((), {})


def test_an_engine_that_does_not_answer_changes_nothing_and_forgets_nothing():
    first = plan([lease()], [], NOW, odd_since={})
    silent = plan([lease()], None, NOW + LONG, odd_since=first.odd_since)
    assert (silent.actions, silent.odd_since) == ((), first.odd_since)


def test_a_stopped_container_keeps_its_lease():
    assert settle([lease()], [container(running=False)]) == ()


def test_a_granted_lease_gets_time_to_make_its_container():
    granted = lease(LeaseState.GRANTED)
    first = plan([granted], [], NOW, odd_since={})
    soon = plan([granted], [], NOW + timedelta(seconds=60), odd_since=first.odd_since)
    assert soon.actions == ()
    assert settle([granted], []) == (EndLease("l1", "no container was made for it"),)


def test_a_held_lease_that_is_taken_up_starts_a_new_count():
    """The same lease, granted again by a reset, must not end because it was odd before."""
    running = plan([lease()], [], NOW, odd_since={})
    taken_up = plan([lease(LeaseState.GRANTED)], [], NOW + LONG, odd_since=running.odd_since)
    assert taken_up.actions == ()


def test_a_held_lease_without_a_container_is_marked_and_not_ended():
    held = replace(lease(LeaseState.HELD), hold_until=NOW + LONG)
    assert plan([held], [], NOW, odd_since={}).actions == (MarkGone("l1"),)
    assert settle([replace(held, gone_at=NOW)], []) == ()


def test_a_reset_under_way_is_left_alone():
    held = replace(lease(LeaseState.HELD), hold_until=NOW - LONG)
    under_way = {("ada", "")}
    assert settle([held], [], resetting=under_way) == ()
    assert settle([lease()], [], resetting=under_way) == ()


def test_a_hold_that_ran_out_over_a_running_container_is_given_up():
    held = replace(lease(LeaseState.HELD), hold_until=NOW - LONG)
    assert plan([held], [container()], NOW, odd_since={}).actions == (AdoptContainer("l1", "c1"),)


def test_a_container_whose_hub_died_before_saying_so_is_adopted():
    granted = lease(LeaseState.GRANTED)
    assert plan([granted], [container()], NOW, odd_since={}).actions == ()
    assert settle([granted], [container()]) == (AdoptContainer("l1", "c1"),)


def test_a_container_without_a_live_lease_is_removed_but_not_at_first_sight():
    orphan = container("ended")
    assert plan([], [orphan], NOW, odd_since={}).actions == ()
    assert settle([], [orphan]) == (RemoveContainer("c1", "ended"),)


def test_a_container_without_our_label_is_not_ours():
    assert settle([], [container("")]) == ()


leases = st.lists(
    st.builds(
        Lease,
        id=st.sampled_from(["l1", "l2", "l3"]),
        user=st.sampled_from(["ada", "bob"]),
        server=st.just(""),
        state=st.sampled_from(list(LeaseState)),
        device_uuids=st.just(("GPU-a",)),
        granted_at=st.just(NOW),
        hold_until=st.none() | st.sampled_from([NOW - LONG, NOW + LONG]),
        gone_at=st.none() | st.just(NOW),
    ),
    unique_by=lambda lease: lease.id,
)
containers = st.none() | st.lists(
    st.builds(
        ContainerFact,
        id=st.uuids().map(str),
        lease_id=st.sampled_from(["", "l1", "l2", "l3", "l4"]),
        user=st.sampled_from(["ada", "bob"]),
        server=st.just(""),
        running=st.booleans(),
    )
)
looks = st.lists(st.tuples(leases, containers, st.timedeltas(-LONG, LONG)), min_size=1, max_size=6)


@settings(max_examples=3 * settings.default.max_examples)
@given(looks, st.sets(st.sampled_from([("ada", ""), ("bob", "")])))
def test_no_history_of_looks_ends_a_lease_that_must_stay(history, resetting):
    odd_since = {}
    now = NOW
    for seen_leases, seen_containers, passed in history:
        now += passed
        result = plan(seen_leases, seen_containers, now, odd_since=odd_since, resetting=resetting)
        by_id = {lease.id: lease for lease in seen_leases}
        with_container = {c.lease_id for c in seen_containers or ()}
        if seen_containers is None:
            assert result.actions == ()
        for action in result.actions:
            if isinstance(action, RemoveContainer):
                owner = by_id.get(action.lease_id)
                assert owner is None or owner.state is LeaseState.ENDED
                continue
            owner = by_id[action.lease_id]
            assert owner.state is not LeaseState.ENDED
            assert (owner.user, owner.server) not in resetting
            if isinstance(action, EndLease):
                assert action.lease_id not in with_container
                assert owner.state is not LeaseState.HELD
                assert odd_since, "ended at first sight"
            if isinstance(action, AdoptContainer):
                assert action.lease_id in with_container
        assert len({a.lease_id for a in result.actions if isinstance(a, EndLease)}) == len(
            [a for a in result.actions if isinstance(a, EndLease)]
        )
        odd_since = result.odd_since


@settings(max_examples=2 * settings.default.max_examples)
@given(leases, containers)
def test_planning_again_after_the_plan_was_applied_gives_nothing_new(seen_leases, seen_containers):
    first = plan(seen_leases, seen_containers, NOW, odd_since={})
    second = plan(seen_leases, seen_containers, NOW + LONG, odd_since=first.odd_since)
    now = NOW + LONG
    state = {lease.id: lease for lease in seen_leases}
    left = list(seen_containers or ())
    for action in second.actions:
        match action:
            case EndLease(lease_id, reason):
                state[lease_id] = replace(
                    state[lease_id], state=LeaseState.ENDED, end_reason=reason
                )
            case MarkGone(lease_id):
                state[lease_id] = replace(state[lease_id], gone_at=now)
            case AdoptContainer(lease_id, container_id):
                state[lease_id] = replace(
                    state[lease_id],
                    state=LeaseState.RUNNING,
                    container_id=container_id,
                    hold_until=None,
                )
            case RemoveContainer(container_id):
                left = [c for c in left if c.id != container_id]
    again = plan(
        list(state.values()),
        left if seen_containers is not None else None,
        now,
        odd_since=second.odd_since,
    )
    assert again.actions == ()
