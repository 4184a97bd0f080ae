"""Leases: who gets devices, who keeps them, and what alone takes them away."""

from __future__ import annotations

from datetime import timedelta

import pytest

from hub_ext.errors import Conflict, NotFound
from hub_ext.models import Device, LeaseState, Request
from hub_ext.policy import Policy, Pool

ANN = Request("ann", "", 1)
MINUTE = timedelta(minutes=1)


def never(snapshot):
    raise AssertionError("the policy was asked")


@pytest.fixture
def pool(ledger, make_devices, now):
    """A ledger with three devices."""
    ledger.record_inventory(make_devices(3), now)
    return ledger


def holders(ledger):
    return {r.device.uuid: r.lease_ids for r in ledger.devices()}


def test_a_grant_takes_the_chosen_devices_and_leaves_the_queue(pool, now):
    pool.enqueue(Request("ann", "", 2), now)
    lease = pool.acquire(Request("ann", "", 2), lambda s: ["GPU-2", "GPU-0"], now)
    assert lease.device_uuids == ("GPU-2", "GPU-0")
    assert (lease.user, lease.server, lease.state) == ("ann", "", LeaseState.GRANTED)
    assert lease.granted_at == now
    assert holders(pool) == {"GPU-0": (lease.id,), "GPU-1": (), "GPU-2": (lease.id,)}
    assert pool.queue() == ()
    assert pool.lease(lease.id) == pool.lease_of("ann", "") == lease
    assert pool.leases() == (lease,)


def test_a_lease_without_devices_is_a_lease(pool, now):
    lease = pool.acquire(Request("ann", "", 0), lambda s: (), now)
    assert lease.device_uuids == ()
    assert pool.lease_of("ann", "") == lease
    with pytest.raises(Conflict):
        pool.acquire(Request("ann", "", 0), lambda s: (), now)


def test_the_policy_sees_devices_queue_and_leases(pool, now, first_free):
    other = pool.acquire(Request("bob", "x", 1), first_free(1), now)
    pool.enqueue(ANN, now)
    seen = []
    pool.acquire(ANN, lambda snapshot: seen.append(snapshot), now)
    assert [r.lease_ids for r in seen[0].devices] == [(other.id,), (), ()]
    assert [entry.request for entry in seen[0].queue] == [ANN]
    assert seen[0].leases == (other,)


def test_who_has_to_wait_stays_in_the_queue(pool, now):
    entry = pool.enqueue(ANN, now)
    assert pool.acquire(ANN, lambda snapshot: None, now) is None
    assert pool.queue() == (entry,)
    assert pool.leases(include_ended=True) == ()
    assert pool.audit_trail()[-1].action == "queue.join"


@pytest.mark.parametrize("running", [False, True])
def test_a_server_has_one_lease(pool, now, first_free, running):
    lease = pool.acquire(ANN, first_free(1), now)
    if running:
        pool.mark_running(lease.id, "c1", now)
    with pytest.raises(Conflict, match="has a lease already"):
        pool.acquire(ANN, never, now)
    assert pool.acquire(Request("ann", "second", 1), first_free(1), now)


@pytest.mark.parametrize(
    "choice",
    [
        ["GPU-0"],  # taken
        ["GPU-1", "GPU-1"],
        ["GPU-1"],  # too few
        ["GPU-1", "GPU-2", "GPU-0"],
        ["GPU-1", "GPU-9"],  # unknown
        ["GPU-0", "GPU-1"],  # one of them taken
    ],
)
def test_a_wrong_choice_of_the_policy_changes_nothing(pool, now, choice):
    taken = pool.acquire(Request("bob", "", 1), lambda s: ["GPU-0"], now)
    pool.enqueue(Request("ann", "", 2), now)
    before = (pool.snapshot(now), pool.audit_trail())
    with pytest.raises(ValueError, match="policy chose"):
        pool.acquire(Request("ann", "", 2), lambda s: choice, now)
    assert (pool.snapshot(now), pool.audit_trail()) == before
    assert pool.lease(taken.id) == taken


def test_a_policy_that_fails_changes_nothing(pool, now):
    pool.enqueue(ANN, now)
    before = pool.snapshot(now)
    with pytest.raises(ZeroDivisionError):
        pool.acquire(ANN, lambda snapshot: [1 / 0], now)
    assert pool.snapshot(now) == before
    assert pool.acquire(ANN, lambda snapshot: ["GPU-0"], now), "the ledger works on"


@pytest.mark.parametrize(
    "devices",
    [
        [Device("GPU-1", "", 1)],  # GPU-0 is missing now
        [Device("GPU-0", "", 1, healthy=False, reason="Xid 79")],
    ],
)
def test_only_healthy_devices_are_granted(pool, now, devices):
    pool.record_inventory(devices, now)
    with pytest.raises(ValueError, match="not free"):
        pool.acquire(ANN, lambda snapshot: ["GPU-0"], now)


def test_a_device_with_slots_is_shared_up_to_their_number(ledger, make_devices, now):
    ledger.set_policy(Policy(pools=(Pool("shared", slots=2),)))
    ledger.record_inventory(make_devices(1), now)
    first = ledger.acquire(Request("ann", "", 1, share=True), lambda s: ["GPU-0"], now)
    second = ledger.acquire(Request("bob", "", 1, share=True), lambda s: ["GPU-0"], now)
    assert holders(ledger) == {"GPU-0": (first.id, second.id)}
    with pytest.raises(ValueError, match="not free"):
        ledger.acquire(Request("cyd", "", 1, share=True), lambda s: ["GPU-0"], now)
    ledger.end(first.id, "done", now)
    third = ledger.acquire(Request("cyd", "", 1, share=True), lambda s: ["GPU-0"], now)
    assert holders(ledger) == {"GPU-0": (third.id, second.id)}


def test_running_is_written_down_once(pool, now, first_free):
    lease = pool.acquire(ANN, first_free(1), now)
    pool.mark_running(lease.id, "c1", now)
    pool.mark_running(lease.id, "c1", now + MINUTE)
    found = pool.lease(lease.id)
    assert (found.state, found.container_id) == (LeaseState.RUNNING, "c1")
    assert [e.action for e in pool.audit_trail(lease.id)] == ["grant", "run"]


def test_end_frees_the_devices_and_can_be_repeated(pool, now, first_free):
    lease = pool.acquire(Request("ann", "", 2), first_free(2), now)
    pool.end(lease.id, "stopped", now)
    pool.end(lease.id, "again", now + MINUTE)
    found = pool.lease(lease.id)
    assert (found.state, found.ended_at, found.end_reason) == (LeaseState.ENDED, now, "stopped")
    assert found.device_uuids == lease.device_uuids, "what it had is kept for the record"
    assert not any(holders(pool).values())
    assert pool.lease_of("ann", "") is None
    assert pool.leases() == ()
    assert pool.leases(include_ended=True) == (found,)
    assert pool.acquire(Request("ann", "", 3), first_free(3), now)


def test_an_ended_lease_stays_ended(pool, now, first_free):
    lease = pool.acquire(ANN, first_free(1), now)
    pool.end(lease.id, "stopped", now)
    ended = pool.lease(lease.id)
    with pytest.raises(Conflict):
        pool.mark_running(lease.id, "c", now)
    with pytest.raises(Conflict):
        pool.hold(lease.id, now + MINUTE, now)
    pool.mark_gone(lease.id, now)
    assert pool.lease(lease.id) == ended


@pytest.mark.parametrize(
    "call",
    [
        lambda ledger, now: ledger.lease("nope"),
        lambda ledger, now: ledger.end("nope", "", now),
        lambda ledger, now: ledger.hold("nope", now, now),
        lambda ledger, now: ledger.mark_gone("nope", now),
        lambda ledger, now: ledger.mark_running("nope", "c", now),
    ],
)
def test_an_unknown_lease_is_not_found(ledger, now, call):
    with pytest.raises(NotFound, match="nope"):
        call(ledger, now)


def held_lease(ledger, now, gpus=1, *, gone):
    lease = ledger.acquire(
        Request("ann", "", gpus), lambda s: [f"GPU-{i}" for i in range(gpus)], now
    )
    ledger.mark_running(lease.id, "c1", now)
    ledger.hold(lease.id, now + MINUTE, now)
    if gone:
        ledger.mark_gone(lease.id, now)
    return ledger.lease(lease.id)


@pytest.mark.parametrize("gone", [False, True])
def test_a_held_lease_is_taken_up_with_its_devices(pool, now, gone):
    held = held_lease(pool, now, 2, gone=gone)
    assert (held.state, held.hold_until) == (LeaseState.HELD, now + MINUTE)
    later = now + MINUTE / 2
    pool.enqueue(Request("ann", "", 2), later)
    lease = pool.acquire(Request("ann", "", 2), never, later)
    assert (lease.id, lease.device_uuids) == (held.id, ("GPU-0", "GPU-1"))
    assert (lease.state, lease.container_id, lease.hold_until) == (LeaseState.GRANTED, "", None)
    assert lease.gone_at is None
    assert pool.queue() == ()
    assert pool.audit_trail(lease.id)[-1].action == "take up"


def test_a_held_lease_gives_back_what_is_not_asked_for_any_more(pool, now):
    held = held_lease(pool, now, 3, gone=True)
    lease = pool.acquire(ANN, never, now)
    assert (lease.id, lease.device_uuids) == (held.id, ("GPU-0",))
    assert holders(pool) == {"GPU-0": (held.id,), "GPU-1": (), "GPU-2": ()}
    assert pool.acquire(Request("bob", "", 2), lambda s: ["GPU-1", "GPU-2"], now)


@pytest.mark.parametrize("gpus", [1, 3])
def test_a_hold_is_not_changed_while_its_container_may_live(pool, now, gpus):
    held = held_lease(pool, now, 2, gone=False)
    with pytest.raises(Conflict, match="not known to be gone"):
        pool.acquire(Request("ann", "", gpus), never, now)
    assert pool.lease(held.id) == held


def test_a_hold_that_does_not_suffice_is_replaced(pool, now, first_free):
    held = held_lease(pool, now, 1, gone=True)
    lease = pool.acquire(Request("ann", "", 3), first_free(3), now)
    assert lease.id != held.id
    assert lease.device_uuids == ("GPU-0", "GPU-1", "GPU-2")
    assert pool.lease(held.id).state is LeaseState.ENDED


def test_a_hold_that_does_not_suffice_stays_while_its_server_has_to_wait(pool, now, first_free):
    held = held_lease(pool, now, 1, gone=True)
    pool.acquire(Request("bob", "", 1), lambda s: ["GPU-1"], now)
    before = (pool.snapshot(now), pool.audit_trail())
    assert pool.acquire(Request("ann", "", 3), first_free(3), now) is None
    assert pool.lease(held.id) == held
    assert (pool.snapshot(now), pool.audit_trail()) == before


def test_a_hold_with_a_sick_device_is_replaced(pool, make_devices, now, first_free):
    held = held_lease(pool, now, 1, gone=True)
    pool.record_inventory(make_devices(3)[1:], now)
    lease = pool.acquire(ANN, first_free(1), now)
    assert lease.device_uuids == ("GPU-1",)
    assert pool.lease(held.id).state is LeaseState.ENDED


def test_a_hold_expires_only_when_its_container_is_gone(pool, now, first_free):
    held = held_lease(pool, now, 3, gone=False)
    later = now + 2 * MINUTE
    assert pool.snapshot(later).leases == (held,)
    assert pool.acquire(Request("bob", "", 1), first_free(1), later) is None
    pool.mark_gone(held.id, later)
    assert pool.lease(held.id).gone_at == later
    lease = pool.acquire(Request("bob", "", 1), first_free(1), later)
    assert lease.device_uuids == ("GPU-0",)
    ended = pool.lease(held.id)
    assert (ended.state, ended.end_reason) == (LeaseState.ENDED, "hold expired")


def test_a_snapshot_ends_expired_holds_and_no_others(pool, now):
    held = held_lease(pool, now, gone=True)
    assert pool.snapshot(now + MINUTE - timedelta(seconds=1)).leases == (held,)
    assert pool.snapshot(now + MINUTE).leases == ()
    assert not any(holders(pool).values())


def test_a_snapshot_without_a_time_uses_the_clock(pool, now):
    from datetime import UTC, datetime

    past = datetime.now(UTC) - 2 * MINUTE
    held_lease(pool, past, gone=True)
    assert pool.snapshot().leases == ()


def test_a_hold_can_be_prolonged_and_given_up(pool, now):
    held = held_lease(pool, now, gone=False)
    pool.hold(held.id, now + 5 * MINUTE, now)
    assert pool.lease(held.id).hold_until == now + 5 * MINUTE
    pool.mark_running(held.id, "c1", now)
    found = pool.lease(held.id)
    assert (found.state, found.hold_until) == (LeaseState.RUNNING, None)


def test_a_new_hold_forgets_that_an_earlier_container_was_gone(pool, now):
    held = held_lease(pool, now, gone=True)
    pool.acquire(ANN, never, now)
    pool.mark_running(held.id, "c2", now)
    pool.hold(held.id, now + MINUTE, now)
    assert pool.lease(held.id).gone_at is None
    assert len(pool.snapshot(now + 2 * MINUTE).leases) == 1


def test_gone_is_for_held_leases_only(pool, now, first_free):
    lease = pool.acquire(ANN, first_free(1), now)
    pool.mark_gone(lease.id, now)
    assert pool.lease(lease.id) == lease


def test_the_audit_trail_tells_the_whole_story(pool, now):
    held = held_lease(pool, now, gone=True)
    pool.acquire(ANN, never, now)
    pool.end(held.id, "stopped by ann", now)
    trail = pool.audit_trail(held.id)
    assert [entry.action for entry in trail] == [
        "grant",
        "run",
        "hold",
        "container gone",
        "take up",
        "end",
    ]
    assert trail[0].detail == "ann: GPU-0"
    assert trail[-1].detail == "stopped by ann"
    assert {entry.actor for entry in trail} == {"hub"}
    assert {entry.at for entry in trail} == {now}
    assert pool.audit_trail(held.id, limit=2) == trail[-2:]
    assert len(pool.audit_trail()) == len(trail) + 3, "and the three devices that were found"


def test_a_time_without_a_zone_is_refused(pool, now):
    with pytest.raises(ValueError, match="no time zone"):
        pool.enqueue(ANN, now.replace(tzinfo=None))
    assert pool.queue() == ()
