"""What a request asks for, who waits for it after a restart, the policy, notices and memos."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import event

from hub_ext.models import (
    EPOCH,
    Device,
    DeviceChange,
    DeviceState,
    NoticeKind,
    Request,
)
from hub_ext.policy import GroupLimits, Policy, Pool, Rule

MINUTE = timedelta(minutes=1)
FULL = Request(
    "ann",
    "two",
    4,
    model="A100",
    min_memory_bytes=80 * 2**30,
    share=True,
    groups=("rot-grün", "students"),
    priority=7,
    term=timedelta(hours=1, microseconds=250_000),
)
OPTIONS = {"gpus": 4, "model": "größer", "share": True}


def test_a_request_comes_back_as_it_was(ledger, now):
    entry = ledger.enqueue(FULL, now, waiter="run-1", user_options=OPTIONS)
    assert ledger.queue() == (entry,)
    assert ledger.snapshot(now).queue == (entry,)
    assert (entry.request, entry.waiter, entry.user_options) == (FULL, "run-1", OPTIONS)


def test_who_asks_again_keeps_the_place_and_changes_the_rest(ledger, now):
    ledger.enqueue(FULL, now, waiter="run-1", user_options=OPTIONS)
    ledger.enqueue(Request("bob", "", 1), now)
    plain = Request("ann", "two", 1)
    entry = ledger.enqueue(plain, now + MINUTE, waiter="run-2", user_options={"gpus": 1})
    first = ledger.queue()[0]
    assert first == entry
    assert (first.request, first.enqueued_at, first.waiter) == (plain, now, "run-2")


def test_what_a_caller_does_to_its_options_does_not_reach_the_queue(ledger, now):
    ledger.enqueue(FULL, now, user_options=OPTIONS)
    ledger.queue()[0].user_options["gpus"] = 9
    assert ledger.queue()[0].user_options == OPTIONS


def test_a_run_of_the_hub_leaves_the_queue_and_is_told(ledger, now):
    assert (ledger.snapshot(now).run, ledger.snapshot(now).run_since) == ("", EPOCH)
    ledger.begin_run("run-1", now)
    ledger.enqueue(FULL, now, waiter="run-1")
    ledger.begin_run("run-2", now + MINUTE)
    ledger.begin_run("run-2", now + 2 * MINUTE)
    seen = ledger.snapshot(now)
    assert (seen.run, seen.run_since) == ("run-2", now + MINUTE)
    assert [entry.waiter for entry in seen.queue] == ["run-1"]
    assert [e.detail for e in ledger.audit_trail() if e.action == "hub run"] == ["run-1", "run-2"]


def test_orphans_are_dropped_when_their_time_is_over(ledger, now):
    ledger.begin_run("run-1", now)
    for user in ("ann", "bob"):
        ledger.enqueue(Request(user, "", 1), now, waiter="run-1")
    ledger.begin_run("run-2", now + MINUTE)
    mine = ledger.enqueue(Request("bob", "", 1), now + MINUTE, waiter="run-2")
    assert ledger.drop_orphans(now + MINUTE - timedelta(seconds=1), now + 3 * MINUTE) == ()
    (dropped,) = ledger.drop_orphans(now + MINUTE, now + 3 * MINUTE)
    assert dropped.request.user == "ann"
    assert ledger.queue() == (mine,)
    (notice,) = ledger.notices("ann")
    assert (notice.kind, notice.at) == (NoticeKind.START_LOST, now + 3 * MINUTE)
    assert ledger.notices("bob") == ()
    assert ledger.drop_orphans(now + MINUTE, now + 3 * MINUTE) == ()


def test_a_policy_is_the_same_for_all_who_read_the_ledger(ledger, ledger_url, open_ledger, now):
    assert ledger.policy() == ledger.snapshot(now).policy == Policy()
    policy = Policy(
        pools=(Pool("a", ("GPU-1",), slots=4, groups=("students",)),),
        rules={"staff": Rule(priority=10, lifted=frozenset({"max_devices"}))},
        group_limits={"students": GroupLimits(max_devices=3)},
        event_start=now,
        idle_after=MINUTE,
    )
    ledger.set_policy(policy)
    other = open_ledger(ledger_url)
    assert ledger.policy() == other.policy() == other.snapshot(now).policy == policy
    other.set_policy(Policy())
    assert ledger.policy() == ledger.snapshot(now).policy == Policy()


def test_memos_are_kept_and_forgotten(ledger):
    assert ledger.recall("faults") is None
    ledger.remember("faults", '{"GPU-1": "größer"}')
    assert ledger.recall("faults") == '{"GPU-1": "größer"}'
    ledger.remember("faults", "")
    assert ledger.recall("faults") == ""
    ledger.remember("faults", None)
    assert ledger.recall("faults") is None
    ledger.remember("policy", "no policy")
    assert ledger.policy() == Policy()


def test_a_snapshot_is_read_anew_after_each_change(ledger, ledger_url, open_ledger, now):
    """While nothing changes it is used again; what another process writes is a change, too."""
    other = open_ledger(ledger_url)
    first = ledger.snapshot(now)
    again = ledger.snapshot(now + MINUTE)
    assert again.queue is first.queue
    assert (first.now, again.now) == (now, now + MINUTE)
    entry = other.enqueue(FULL, now)
    assert ledger.snapshot(now).queue == (entry,)
    other.withdraw("ann", "two")
    other.record_inventory([Device("GPU-0", "", 1)], now)
    seen = ledger.snapshot(now)
    assert (seen.queue, len(seen.devices)) == ((), 1)
    other.record_inventory([], now)
    assert ledger.snapshot(now).devices[0].state is DeviceState.MISSING
    lease = other.acquire(Request("ann", "", 0), lambda s: (), now)
    assert ledger.snapshot(now).leases == (lease,)
    other.set_policy(Policy(auto_extend=False))
    assert not ledger.snapshot(now).policy.auto_extend


def test_looking_again_takes_two_queries(ledger, make_devices, now):
    """Hundreds of waiting servers look twice a second: what did not change is not read again."""
    ledger.record_inventory(make_devices(2), now)
    ledger.enqueue(FULL, now)
    ledger.snapshot(now)
    asked = []

    def note(_connection, _cursor, statement, *_rest):
        asked.append(statement)

    event.listen(ledger._database.engine, "before_cursor_execute", note)
    ledger.snapshot(now)
    assert len([statement for statement in asked if statement.startswith("SELECT")]) == 2, asked
    asked.clear()
    ledger.withdraw("ann", "two")
    ledger.snapshot(now)
    assert len([statement for statement in asked if statement.startswith("SELECT")]) > 2


# -- notices


def test_changes_of_health_are_told_to_those_whom_they_concern(ledger, make_devices, now):
    well = make_devices(3)
    new = ledger.record_inventory(well, now)
    assert new[0] == DeviceChange("GPU-0", "card 0", None, DeviceState.HEALTHY)
    lease = ledger.acquire(Request("ann", "two", 2), lambda s: ["GPU-0", "GPU-1"], now)
    assert ledger.record_inventory(well, now) == ()

    sick = [Device("GPU-0", "card 0", 1024, healthy=False, reason="Xid 79"), *well[2:]]
    changes = ledger.record_inventory(sick, now + MINUTE)
    states = DeviceState
    assert changes == (
        DeviceChange("GPU-0", "card 0", states.HEALTHY, states.QUARANTINED, "Xid 79", (lease.id,)),
        DeviceChange(
            "GPU-1",
            "card 1",
            states.HEALTHY,
            states.MISSING,
            "not found by the last inventory",
            (lease.id,),
        ),
    )
    told = ledger.notices("ann", "two")
    assert [(n.kind, n.detail["device"], n.detail["reason"]) for n in told] == [
        (NoticeKind.DEVICE_QUARANTINED, "GPU-0", "Xid 79"),
        (NoticeKind.DEVICE_QUARANTINED, "GPU-1", "not found by the last inventory"),
    ]
    assert len(ledger.record_inventory(well[2:], now)) == 1, "sick, then missing"
    assert len(ledger.notices("ann", "two")) == 2, "ill is ill: told once"
    ledger.record_inventory(reversed(well), now)
    assert sorted((n.kind, n.detail["device"]) for n in ledger.notices("ann")[2:]) == [
        (NoticeKind.DEVICE_BACK, "GPU-0"),
        (NoticeKind.DEVICE_BACK, "GPU-1"),
    ]
    assert ledger.notices("ann", "") == ()


def test_nobody_is_told_of_a_device_that_nobody_has(ledger, make_devices, now):
    ledger.record_inventory(make_devices(1), now)
    lease = ledger.acquire(Request("ann", "", 1), lambda s: ["GPU-0"], now)
    ledger.end(lease.id, "stopped", now)
    (change,) = ledger.record_inventory([], now)
    assert (change.after, change.lease_ids) == (DeviceState.MISSING, ())
    assert ledger.notices("ann") == ()


def test_notices_are_kept_until_they_are_read(ledger, now):
    first = ledger.notify("ann", "", NoticeKind.LEASE_EXPIRED, {}, now)
    second = ledger.notify("ann", "", NoticeKind.START_LOST, {"reason": "größer"}, now + MINUTE)
    other = ledger.notify("ann", "two", NoticeKind.LEASE_EXPIRED, {}, now)
    bobs = ledger.notify("bob", "", NoticeKind.LEASE_EXPIRED, {}, now)
    assert ledger.notices("ann") == (first, second, other)
    ledger.read_notices("ann", "", first.id, now)
    assert ledger.notices("ann", "") == (second,)
    ledger.read_notices("ann", "", other.id, now)
    assert ledger.notices("ann") == (other,)
    assert ledger.notices("bob") == (bobs,)
    later = ledger.notify("ann", "", NoticeKind.LEASE_EXPIRED, {}, now)
    assert later.id > bobs.id, "an id is never used again: an old page cannot read a new notice"


def test_the_latest_twenty_are_kept(ledger, now):
    made = [
        ledger.notify("ann", "", NoticeKind.LEASE_EXPIRED, {"n": str(n)}, now) for n in range(25)
    ]
    other = ledger.notify("ann", "two", NoticeKind.LEASE_EXPIRED, {}, now)
    assert ledger.notices("ann", "") == tuple(made[5:])
    assert ledger.notices("ann", "two") == (other,)


@pytest.mark.parametrize("kind_of_notice", list(NoticeKind))
def test_each_kind_fits_its_column(ledger, now, kind_of_notice):
    ledger.notify("ann", "", kind_of_notice, {}, now)
    assert ledger.notices("ann")[0].kind is kind_of_notice
