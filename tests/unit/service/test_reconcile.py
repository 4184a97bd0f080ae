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


def test_a_stopped_container_is_removed_when_the_hub_does_not_and_then_its_lease_ends():
    stopped = container(running=False)
    first = plan([lease()], [stopped], NOW, odd_since={})
    soon = NOW + timedelta(seconds=119)
    assert (first.actions, plan([lease()], [stopped], soon, odd_since=first.odd_since).actions) == (
        (),
        (),
    )
    assert settle([lease()], [stopped]) == (RemoveContainer("c1", "l1", lease_lives=True),)
    assert settle([lease()], []) == (EndLease("l1", "its container is gone"),)


def test_a_container_that_was_made_and_never_started_goes_too():
    """Its hub was killed between create and start."""
    granted = lease(LeaseState.GRANTED)
    made = container(running=False)
    first = plan([granted], [made], NOW, odd_since={})
    about_to_start = NOW + timedelta(seconds=150)
    assert plan([granted], [made], about_to_start, odd_since=first.odd_since).actions == ()
    assert settle([granted], [made]) == (RemoveContainer("c1", "l1", lease_lives=True),)


def test_a_hold_that_ran_out_over_a_stopped_container_can_expire():
    held = replace(lease(LeaseState.HELD), hold_until=NOW + LONG + timedelta(seconds=1))
    assert settle([held], [container(running=False)]) == ()
    over = replace(held, hold_until=NOW - LONG)
    assert settle([over], [container(running=False)]) == (
        RemoveContainer("c1", "l1", lease_lives=True),
    )


def test_of_two_containers_the_lease_keeps_the_one_it_names():
    named = replace(lease(), container_id="c2")
    both = [container(), container(id_="c2")]
    assert plan([named], both, NOW, odd_since={}).actions == ()
    assert settle([named], both) == (RemoveContainer("c1", "l1", lease_lives=True),)


def test_of_two_containers_the_lease_keeps_the_one_that_runs():
    granted = lease(LeaseState.GRANTED)
    both = [container(running=False), container(id_="c2")]
    assert settle([granted], both) == (
        RemoveContainer("c1", "l1", lease_lives=True),
        AdoptContainer("l1", "c2"),
    )


def test_of_two_that_run_under_a_lease_that_names_none_one_is_adopted_and_none_removed():
    granted = lease(LeaseState.GRANTED)
    both = [container(id_="c2"), container()]
    assert settle([granted], both) == (AdoptContainer("l1", "c1"),)


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


def test_what_a_hub_wrote_down_and_did_not_come_to_is_removed():
    """Its Engine was away at the stop, then the hub ended; for JupyterHub the server is stopped."""
    for state in (LeaseState.RUNNING, LeaseState.GRANTED):
        left = replace(lease(state), container_id="c1")
        first = plan([left], [container()], NOW, odd_since={}, to_be_removed={"l1"})
        soon = NOW + timedelta(seconds=30)
        again = plan([left], [container()], soon, odd_since=first.odd_since, to_be_removed={"l1"})
        assert (first.actions, again.actions) == ((), ())
        assert settle([left], [container()], to_be_removed={"l1"}) == (
            RemoveContainer("c1", "l1", lease_lives=True),
        )
    assert settle([], [], to_be_removed={"l1"}) == ()
    assert settle([lease()], [container()], to_be_removed={"l2"}) == ()


def test_what_a_hub_wrote_down_waits_for_a_reset():
    held = replace(lease(LeaseState.HELD), hold_until=NOW + 2 * LONG)
    assert settle([held], [container()], to_be_removed={"l1"}) == ()
    under_way = {("ada", "")}
    assert settle([lease()], [container()], to_be_removed={"l1"}, resetting=under_way) == ()


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
        container_id=st.sampled_from(["", "c1", "c2", "c9"]),
    ),
    unique_by=lambda lease: lease.id,
)
containers = st.none() | st.lists(
    st.builds(
        ContainerFact,
        id=st.sampled_from([f"c{number}" for number in range(1, 9)]),
        lease_id=st.sampled_from(["", "l1", "l2", "l3", "l4"]),
        user=st.sampled_from(["ada", "bob"]),
        server=st.just(""),
        running=st.booleans(),
    ),
    unique_by=lambda container: container.id,
    max_size=8,
)
looks = st.lists(st.tuples(leases, containers, st.timedeltas(-LONG, LONG)), min_size=1, max_size=6)


@settings(max_examples=2 * settings.default.max_examples)
@given(
    looks,
    st.sets(st.sampled_from([("ada", ""), ("bob", "")])),
    st.sets(st.sampled_from(["l1", "l2"])),
)
def test_no_history_of_looks_ends_a_lease_that_must_stay(history, resetting, to_be_removed):
    odd_since = {}
    now = NOW
    for seen_leases, seen_containers, passed in history:
        now += passed
        result = plan(
            seen_leases,
            seen_containers,
            now,
            odd_since=odd_since,
            resetting=resetting,
            to_be_removed=to_be_removed,
        )
        by_id = {lease.id: lease for lease in seen_leases}
        with_container = {c.lease_id for c in seen_containers or ()}
        running = {c.id: c.running for c in seen_containers or ()}
        if seen_containers is None:
            assert result.actions == ()
        for action in result.actions:
            if isinstance(action, RemoveContainer):
                owner = by_id.get(action.lease_id)
                ended = owner is None or owner.state is LeaseState.ENDED
                assert action.lease_lives != ended
                assert odd_since, "removed at first sight"
                if not ended:
                    assert (owner.user, owner.server) not in resetting
                if not ended and (owner.id not in to_be_removed or owner.state is LeaseState.HELD):
                    others = {
                        c.id
                        for c in seen_containers
                        if c.lease_id == owner.id and c.id != action.container_id
                    }
                    assert not running[action.container_id] or others
                    assert action.container_id != owner.container_id or not any(
                        running[other] for other in others | {action.container_id}
                    )
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


def applied(actions, seen_leases, seen_containers, now):
    """Ledger and Engine after a plan."""
    state = {lease.id: lease for lease in seen_leases}
    left = list(seen_containers)
    for action in actions:
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
    return list(state.values()), left


@given(leases, containers)
def test_planning_again_after_the_plan_was_applied_gives_nothing_new(seen_leases, seen_containers):
    now = NOW + LONG
    first = plan(seen_leases, seen_containers, NOW, odd_since={})
    second = plan(seen_leases, seen_containers, now, odd_since=first.odd_since)
    if seen_containers is None:
        assert second.actions == ()
        return
    after = applied(second.actions, seen_leases, seen_containers, now)
    again = plan(*after, now, odd_since=second.odd_since)
    assert [a for a in again.actions if not isinstance(a, MarkGone)] == []
    for action in again.actions:  # what was removed from under a hold is gone now, and was not then
        assert RemoveContainer in {type(a) for a in second.actions if a.lease_id == action.lease_id}
    more = applied(again.actions, *after, now)
    assert plan(*more, now, odd_since=again.odd_since).actions == ()


@given(leases, containers.filter(lambda found: found is not None))
def test_left_alone_everything_comes_to_rest(seen_leases, seen_containers):
    """Whatever a crash left, a few looks later each live lease has one container or holds, and each
    container that is ours has a live lease."""
    now, odd_since = NOW, {}
    for _ in range(8):
        result = plan(seen_leases, seen_containers, now, odd_since=odd_since)
        seen_leases, seen_containers = applied(result.actions, seen_leases, seen_containers, now)
        odd_since = result.odd_since
        now += timedelta(seconds=200)
    live = {each.id: each for each in seen_leases if each.state is not LeaseState.ENDED}
    for each in live.values():
        its = [c for c in seen_containers if c.lease_id == each.id]
        if each.state is LeaseState.HELD:
            over = each.hold_until is None or each.hold_until <= now
            assert each.gone_at is not None or (its and not over)
            continue
        assert each.state is LeaseState.RUNNING
        assert [c.running for c in its] == [True]
    assert {c.lease_id for c in seen_containers} <= {"", *live}
