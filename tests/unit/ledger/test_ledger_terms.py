"""Terms, cordons and drains: when a lease ends, and which devices take no new ones."""

from __future__ import annotations

from datetime import timedelta

import pytest

from hub_ext.errors import Conflict, NotFound
from hub_ext.models import Cordon, LeaseState, NoticeKind, Request, Revocation
from hub_ext.policy import Policy, Pool

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
ANN = Request("ann", "", 1, term=8 * HOUR, groups=("red", "students"))


def never(snapshot):
    raise AssertionError("the policy was asked")


@pytest.fixture
def pool(ledger, make_devices, now):
    """A ledger with three devices."""
    ledger.record_inventory(make_devices(3), now)
    return ledger


@pytest.fixture
def lease(pool, now):
    return pool.acquire(ANN, lambda s: ["GPU-0"], now)


def actions(ledger, lease):
    return [entry.action for entry in ledger.audit_trail(lease.id)]


def test_a_lease_keeps_what_the_policy_says_of_its_user(pool, lease, now):
    assert (lease.expires_at, lease.groups, lease.shared) == (now + 8 * HOUR, ANN.groups, False)
    assert (lease.extensions, lease.idle_since, lease.reclaim_at) == (0, None, None)
    endless = pool.acquire(Request("bob", "", 1), lambda s: ["GPU-1"], now)
    assert endless.expires_at is None


def test_a_lease_without_devices_has_no_end(pool, now):
    lease = pool.acquire(Request("ann", "", 0, term=HOUR, share=True), lambda s: (), now)
    assert (lease.expires_at, lease.shared) == (None, False)


@pytest.mark.parametrize("by_user", [True, False])
def test_an_extension_moves_the_end(pool, lease, now, by_user):
    pool.extend(lease.id, now + 9 * HOUR, now, by_user=by_user)
    found = pool.lease(lease.id)
    assert (found.expires_at, found.extensions) == (now + 9 * HOUR, int(by_user))
    assert actions(pool, lease) == ["grant", "extend"]


def test_an_extension_must_be_later(pool, lease, now):
    for until in (now + 8 * HOUR, now):
        with pytest.raises(Conflict, match="lasts until 2026-11-24 20:00 UTC already"):
            pool.extend(lease.id, until, now, by_user=True)
    assert pool.lease(lease.id) == lease


def test_what_has_no_end_or_has_ended_is_not_extended(pool, lease, now):
    endless = pool.acquire(Request("bob", "", 1), lambda s: ["GPU-1"], now)
    with pytest.raises(Conflict, match="has no end"):
        pool.extend(endless.id, now + HOUR, now, by_user=True)
    pool.end(lease.id, "stopped", now)
    with pytest.raises(Conflict, match="has ended"):
        pool.extend(lease.id, now + 9 * HOUR, now, by_user=True)
    with pytest.raises(NotFound):
        pool.extend("nope", now + 9 * HOUR, now, by_user=True)


def test_shortening_is_done_once(pool, lease, now):
    pool.shorten(lease.id, now + HOUR, now, "quota")
    pool.shorten(lease.id, now + HOUR, now, "quota")
    pool.shorten(lease.id, now + 2 * HOUR, now, "quota")
    assert pool.lease(lease.id).expires_at == now + HOUR
    assert actions(pool, lease) == ["grant", "shorten"]
    assert "quota" in pool.audit_trail(lease.id)[-1].detail


def test_an_endless_lease_can_be_shortened_and_an_ended_one_stays(pool, now):
    lease = pool.acquire(Request("bob", "", 1), lambda s: ["GPU-1"], now)
    pool.shorten(lease.id, now + HOUR, now, "quota")
    assert pool.lease(lease.id).expires_at == now + HOUR
    pool.end(lease.id, "stopped", now)
    ended = pool.lease(lease.id)
    pool.shorten(lease.id, now, now, "quota")
    pool.mark_idle(lease.id, now, now, now)
    assert pool.lease(lease.id) == ended


def test_only_the_warning_of_an_idle_lease_is_for_the_audit_trail(pool, lease, now):
    for step in range(3):
        pool.mark_idle(lease.id, now + step * MINUTE, None, now)
    assert pool.lease(lease.id).idle_since == now + 2 * MINUTE
    pool.mark_idle(lease.id, now, now + HOUR, now)
    found = pool.lease(lease.id)
    assert (found.idle_since, found.reclaim_at) == (now, now + HOUR)
    pool.mark_idle(lease.id, None, None, now)
    found = pool.lease(lease.id)
    assert (found.idle_since, found.reclaim_at) == (None, None)
    assert actions(pool, lease) == ["grant", "reclaim", "reclaim"]


def test_a_reset_gives_no_new_time_and_forgets_that_it_was_idle(pool, lease, now):
    pool.mark_idle(lease.id, now, now + MINUTE, now)
    pool.hold(lease.id, now + HOUR, now)
    pool.mark_gone(lease.id, now)
    taken = pool.acquire(ANN, never, now + HOUR / 2)
    assert (taken.id, taken.expires_at) == (lease.id, now + 8 * HOUR)
    assert taken.granted_at == now, "so that its use is counted from the first grant"
    assert (taken.idle_since, taken.reclaim_at) == (None, None)


@pytest.mark.parametrize(
    "change",
    [
        {"model": "card 1"},
        {"min_memory_bytes": 2048},
        {"share": True},
    ],
)
def test_a_hold_of_another_kind_is_replaced(pool, lease, now, change):
    pool.set_policy(Policy(pools=(Pool("half", ("GPU-2",), slots=2),)))
    pool.record_inventory([r.device for r in pool.devices()], now)
    pool.hold(lease.id, now + HOUR, now)
    pool.mark_gone(lease.id, now)
    asked = Request("ann", "", 1, **change)
    chosen = "GPU-2" if asked.share else "GPU-1"
    replaced = pool.acquire(asked, lambda s: [chosen], now)
    assert (replaced.device_uuids, replaced.shared) == ((chosen,), asked.share)
    assert pool.lease(lease.id).state is LeaseState.ENDED


def test_a_hold_is_taken_up_by_part_of_the_model(pool, lease, now):
    pool.hold(lease.id, now + HOUR, now)
    asked = Request("ann", "", 1, model="CARD", min_memory_bytes=1024)
    assert pool.acquire(asked, never, now).id == lease.id


@pytest.mark.parametrize("cordon", [Cordon.CORDONED, Cordon.DRAINING])
def test_a_device_out_of_use_takes_no_new_lease(pool, now, cordon):
    pool.cordon("GPU-0", cordon, "new fan", now, actor="root")
    record = pool.devices()[0]
    assert (record.cordon, record.cordon_reason) == (cordon, "new fan")
    assert not record.is_free
    with pytest.raises(ValueError, match="not free"):
        pool.acquire(ANN, lambda s: ["GPU-0"], now)
    pool.record_inventory([r.device for r in pool.devices()], now + MINUTE)
    assert pool.devices()[0].cordon is cordon, "an inventory does not lift it"
    pool.cordon("GPU-0", Cordon.NONE, "", now, actor="root")
    assert pool.devices()[0].cordon_reason == ""
    assert pool.acquire(ANN, lambda s: ["GPU-0"], now)
    trail = [(e.actor, e.action, e.detail) for e in pool.audit_trail() if e.actor == "root"]
    assert [action for _, action, _ in trail][-1] == "uncordon"
    assert trail[0] == (
        "root",
        str(cordon).removesuffix("ed").removesuffix("ing"),
        "GPU-0: new fan",
    )


def test_the_same_word_twice_is_one_line_in_the_trail(pool, now):
    for _ in range(2):
        pool.cordon("GPU-0", Cordon.CORDONED, "fan", now, actor="root")
    assert [e.action for e in pool.audit_trail() if e.actor == "root"] == ["cordon"]


def test_a_cordon_leaves_leases_alone(pool, lease, now):
    pool.cordon("GPU-0", Cordon.CORDONED, "fan", now, actor="root")
    assert pool.lease(lease.id) == lease
    pool.extend(lease.id, now + 9 * HOUR, now, by_user=True)
    pool.hold(lease.id, now + HOUR, now)
    assert pool.acquire(ANN, never, now).id == lease.id, "a reset is no new lease"


def test_a_drain_ends_leases_by_a_time_and_tells_their_users(pool, lease, now):
    other = pool.acquire(Request("bob", "", 1), lambda s: ["GPU-1"], now)
    (drained,) = pool.drain("GPU-0", now + HOUR, "new fan", now, actor="root")
    assert drained == pool.lease(lease.id)
    assert drained.expires_at == now + HOUR
    assert pool.lease(other.id) == other
    (notice,) = pool.notices("ann")
    assert (notice.kind, notice.server) == (NoticeKind.DRAINING, "")
    assert notice.detail == {
        "device": "GPU-0",
        "name": "card 0",
        "reason": "new fan",
        "until": (now + HOUR).isoformat(),
    }
    assert pool.notices("bob") == ()
    with pytest.raises(Conflict, match="out of use"):
        pool.extend(lease.id, now + 9 * HOUR, now, by_user=True)
    assert actions(pool, lease) == ["grant", "shorten"]


def test_a_drain_gives_no_more_time(pool, lease, now):
    (drained,) = pool.drain("GPU-0", now + 20 * HOUR, "", now, actor="root")
    assert drained.expires_at == now + 8 * HOUR
    pool.drain("GPU-0", now + HOUR, "", now, actor="root")
    (again,) = pool.drain("GPU-0", now + 2 * HOUR, "", now, actor="root")
    assert again.expires_at == now + HOUR
    assert len(pool.notices("ann")) == 1, "the last one holds"


def test_lifting_a_drain_gives_the_term_back(pool, lease, now):
    pool.drain("GPU-0", now + HOUR, "", now, actor="root")
    pool.cordon("GPU-0", Cordon.NONE, "", now, actor="root")
    assert pool.lease(lease.id) == lease
    assert pool.notices("ann") == ()
    pool.extend(lease.id, now + 9 * HOUR, now, by_user=True)


def test_a_lease_on_two_draining_devices_waits_for_both(pool, now):
    pool.acquire(Request("ann", "", 2), lambda s: ["GPU-0", "GPU-1"], now)
    pool.drain("GPU-0", now + HOUR, "", now, actor="root")
    pool.drain("GPU-1", now + 2 * HOUR, "", now, actor="root")
    pool.cordon("GPU-1", Cordon.NONE, "", now, actor="root")
    assert pool.lease_of("ann", "").expires_at == now + HOUR
    pool.cordon("GPU-0", Cordon.NONE, "", now, actor="root")
    assert pool.lease_of("ann", "").expires_at is None


def test_an_unknown_device_is_not_found(pool, now):
    with pytest.raises(NotFound, match="GPU-9"):
        pool.cordon("GPU-9", Cordon.CORDONED, "", now, actor="root")
    with pytest.raises(NotFound, match="GPU-9"):
        pool.drain("GPU-9", now, "", now, actor="root")


# -- sharing


@pytest.fixture
def shared(ledger, make_devices, now):
    """GPU-0 exclusive; GPU-1 in three slots."""
    ledger.set_policy(Policy(pools=(Pool("thirds", ("GPU-1",), slots=3),)))
    ledger.record_inventory(make_devices(2), now)
    return ledger


def test_exclusive_and_shared_are_not_mixed(shared, now):
    with pytest.raises(ValueError, match="exclusive; the request asked for a slot"):
        shared.acquire(Request("ann", "", 1, share=True), lambda s: ["GPU-0"], now)
    with pytest.raises(ValueError, match="shared; the request asked for an exclusive device"):
        shared.acquire(Request("ann", "", 1), lambda s: ["GPU-1"], now)
    assert shared.leases() == ()


def test_the_policy_gives_a_device_its_mode_when_it_is_free(shared, make_devices, now):
    device = shared.devices()[1].device
    assert (device.shared, device.slots, device.pool) == (True, 3, "thirds")
    lease = shared.acquire(Request("ann", "", 1, share=True), lambda s: ["GPU-1"], now)
    shared.set_policy(Policy(pools=(Pool("own", ("GPU-1",)),)))
    shared.record_inventory(make_devices(2), now)
    device = shared.devices()[1].device
    assert (device.shared, device.slots, device.pool) == (True, 3, "thirds")
    shared.end(lease.id, "stopped", now)
    shared.record_inventory(make_devices(2), now)
    device = shared.devices()[1].device
    assert (device.shared, device.slots, device.pool) == (False, 1, "own")


def test_fewer_slots_than_there_are_sharers_take_nothing_away(shared, make_devices, now):
    for user in ("ann", "bob", "cyd"):
        shared.acquire(Request(user, "", 1, share=True), lambda s: ["GPU-1"], now)
    shared.set_policy(Policy(pools=(Pool("halves", ("GPU-1",), slots=2),)))
    shared.record_inventory(make_devices(2), now)
    record = shared.devices()[1]
    assert (record.device.slots, len(record.lease_ids), record.free_slots) == (2, 3, 0)
    shared.end(shared.lease_of("ann", "").id, "stopped", now)  # slot 0 is free, and yet:
    with pytest.raises(ValueError, match="not free"):
        shared.acquire(Request("dan", "", 1, share=True), lambda s: ["GPU-1"], now)


def test_a_pool_of_all_devices_takes_those_that_no_other_names(ledger, make_devices, now):
    policy = Policy(
        pools=(Pool("one", ("GPU-1",)), Pool("rest", slots=2), Pool("late", ("GPU-1",)))
    )
    ledger.set_policy(policy)
    ledger.record_inventory(make_devices(3), now)
    assert [r.device.pool for r in ledger.devices()] == [
        policy.pool_of(f"GPU-{i}").name for i in range(3)
    ]


# -- revoked, and extended by somebody else


def kinds(ledger, user="ann"):
    return [each.kind for each in ledger.notices(user, "")]


def test_a_revoked_lease_ends_after_the_notice_and_its_user_is_told(pool, lease, now):
    found = pool.revoke(lease.id, 30 * MINUTE, "the exam begins", now, actor="root")
    until = now + 30 * MINUTE
    assert found == pool.lease(lease.id)
    assert found.expires_at == until
    assert found.revocation == Revocation(now, until, "root", "the exam begins")
    (notice,) = pool.notices("ann", "")
    assert notice.kind is NoticeKind.LEASE_REVOKED
    assert notice.detail == {
        "by": "root", "reason": "the exam begins", "until": until.isoformat()
    }  # fmt: skip
    line = pool.audit_trail(lease.id)[-1]
    assert (line.actor, line.action) == ("root", "revoke")
    assert "the exam begins" in line.detail + getattr(line, "reason", "")
    assert pool.snapshot(now).leases == (found,)


def test_what_is_revoked_twice_ends_at_the_earlier_time(pool, lease, now):
    first = pool.revoke(lease.id, 30 * MINUTE, "exam", now, actor="root")
    for notice in (30, 60):
        assert pool.revoke(lease.id, notice * MINUTE, "no", now, actor="kim") == first
    assert actions(pool, lease) == ["grant", "revoke"]
    sooner = pool.revoke(lease.id, MINUTE, "now", now + MINUTE, actor="kim")
    assert sooner.expires_at == now + 2 * MINUTE
    assert kinds(pool) == [NoticeKind.LEASE_REVOKED], "of two unread ones the last one holds"


def test_a_term_that_ends_earlier_still_does(pool, lease, now):
    found = pool.revoke(lease.id, 9 * HOUR, "exam", now, actor="root")
    assert found.expires_at == now + 8 * HOUR
    pool.extend(lease.id, now + 8.5 * HOUR, now, by_user=False)
    with pytest.raises(Conflict, match="was revoked"):
        pool.extend(lease.id, now + 9.5 * HOUR, now, by_user=False)


def test_a_revocation_is_taken_back_until_it_is_due(pool, lease, now):
    pool.revoke(lease.id, 30 * MINUTE, "exam", now, actor="root")
    found = pool.undo_revoke(lease.id, now + 29 * MINUTE, actor="kim")
    assert found == lease
    assert kinds(pool) == [NoticeKind.REVOCATION_UNDONE]
    assert pool.undo_revoke(lease.id, now + HOUR, actor="kim") == lease
    assert actions(pool, lease) == ["grant", "revoke", "undo revoke"]
    pool.revoke(lease.id, MINUTE, "exam", now, actor="root")
    assert kinds(pool) == [NoticeKind.LEASE_REVOKED]
    with pytest.raises(Conflict, match="too late"):
        pool.undo_revoke(lease.id, now + MINUTE, actor="kim")


def test_what_cannot_be_revoked(pool, lease, now):
    without = pool.acquire(Request("bob", "", 0), lambda s: (), now)
    with pytest.raises(Conflict, match="has no GPUs"):
        pool.revoke(without.id, MINUTE, "exam", now, actor="root")
    pool.end(lease.id, "stopped", now)
    for change in (
        lambda: pool.revoke(lease.id, MINUTE, "exam", now, actor="root"),
        lambda: pool.undo_revoke(lease.id, now, actor="root"),
    ):
        with pytest.raises(Conflict, match="has ended"):
            change()
    with pytest.raises(NotFound):
        pool.revoke("nope", MINUTE, "exam", now, actor="root")


def test_a_revocation_stays_through_a_reset_and_goes_with_the_devices(pool, lease, now):
    pool.mark_running(lease.id, "c1", now)
    pool.revoke(lease.id, HOUR, "exam", now, actor="root")
    for gpus, until in ((1, now + HOUR), (0, None)):
        pool.hold(lease.id, now + HOUR, now)
        pool.mark_gone(lease.id, now)
        taken = pool.acquire(Request("ann", "", gpus, term=8 * HOUR), never, now)
        assert (taken.id, taken.expires_at) == (lease.id, until)
        assert (taken.revocation is None) == (gpus == 0)
        pool.mark_running(lease.id, "c2", now)


def test_a_drain_and_a_revocation_go_one_by_one(pool, lease, now):
    pool.drain("GPU-0", now + HOUR, "fan", now, actor="root")
    pool.revoke(lease.id, 30 * MINUTE, "exam", now, actor="root")
    assert pool.lease(lease.id).expires_at == now + 30 * MINUTE
    pool.undo_revoke(lease.id, now, actor="root")
    assert pool.lease(lease.id).expires_at == now + HOUR
    pool.cordon("GPU-0", Cordon.NONE, "", now, actor="root")
    assert pool.lease(lease.id).expires_at == now + 8 * HOUR


def test_who_gets_more_time_from_somebody_is_told(pool, lease, now):
    until = now + 9 * HOUR
    pool.extend(lease.id, until, now, by_user=False, actor="kim", reason="your talk is next")
    (notice,) = pool.notices("ann", "")
    assert notice.kind is NoticeKind.LEASE_EXTENDED
    assert (notice.detail["by"], notice.detail["reason"]) == ("kim", "your talk is next")
    line = pool.audit_trail(lease.id)[-1]
    assert (line.actor, line.action) == ("kim", "extend")
    assert pool.lease(lease.id).extensions == 0, "they did not extend it themselves"
