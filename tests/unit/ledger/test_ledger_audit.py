"""Who changed what, about whom and why: each kind of change leaves its line, with all of it."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

import hub_ext
from hub_ext.audit_actions import Action
from hub_ext.errors import NotFound
from hub_ext.ledger import audit
from hub_ext.models import (
    Cordon,
    GroupAction,
    MemberState,
    NoticeKind,
    OperationKind,
    OperationStep,
    Request,
)
from hub_ext.policy import Policy
from hub_ext.verdicts import Verdict

HOUR = timedelta(hours=1)
ROOT = Path(hub_ext.__file__).parent.parent
RESET, UNDO = OperationKind.RESET, OperationKind.UNDO


@pytest.fixture
def pool(ledger, make_devices, now):
    ledger.record_inventory(make_devices(2), now)
    return ledger


@pytest.fixture
def told(pool):
    """The lines since the last look: (action, actor, user, server, device, group, reason)."""
    seen = len(pool.audit_trail())

    def look():
        nonlocal seen
        lines = pool.audit_trail()[seen:]
        seen += len(lines)
        return [(e.action, e.actor, e.user, e.server, e.device, e.group, e.reason) for e in lines]

    return look


def test_leases(pool, told, now):
    lease = pool.acquire(Request("ann", "two", 1, term=HOUR), lambda s: ["GPU-0"], now)
    pool.name_container(lease.id, "c", now)
    pool.mark_running(lease.id, "c", now)
    pool.extend(lease.id, now + 2 * HOUR, now, by_user=True, actor="ann")
    pool.extend(lease.id, now + 3 * HOUR, now, by_user=False)
    pool.shorten(lease.id, now + HOUR, now, "quota")
    pool.mark_idle(lease.id, now, now + HOUR, now)
    pool.mark_idle(lease.id, now, None, now, actor="ann")
    pool.hold(lease.id, now + HOUR, now)
    pool.mark_gone(lease.id, now)
    pool.acquire(Request("ann", "two", 1), lambda s: None, now)
    pool.end(lease.id, "stopped", now)
    assert told() == [
        (action, actor, "ann", "two", "", "", reason)
        for action, actor, reason in [
            ("grant", "hub", ""),
            ("create", "hub", ""),
            ("run", "hub", ""),
            ("extend", "ann", ""),
            ("extend", "hub", ""),
            ("shorten", "hub", "quota"),
            ("reclaim", "hub", ""),
            ("reclaim", "ann", ""),
            ("hold", "hub", ""),
            ("container gone", "hub", ""),
            ("take up", "hub", ""),
            ("end", "hub", "stopped"),
        ]
    ]
    assert {line.lease_id for line in pool.audit_trail()[2:]} == {lease.id}


def test_the_queue(pool, told, now):
    request = Request("ann", "", 1)
    pool.begin_run("one", now)
    pool.enqueue(request, now, waiter="one")
    pool.enqueue(request, now, waiter="two")
    pool.withdraw("ann", "", now)
    pool.withdraw("ann", "", now)
    pool.enqueue(request, now, waiter="zero")
    pool.drop_orphans(now, now)
    pool.add_failed_start("ann", "", 1, now)
    assert told() == [
        ("hub run", "hub", "", "", "", "", ""),
        ("queue.join", "hub", "ann", "", "", "", ""),
        ("queue.change", "hub", "ann", "", "", "", ""),
        ("queue.leave", "hub", "ann", "", "", "", ""),
        ("queue.join", "hub", "ann", "", "", "", ""),
        ("notice.add", "hub", "ann", "", "", "", ""),
        ("drop from queue", "hub", "ann", "", "", "", ""),
        ("start.fail", "hub", "ann", "", "", "", ""),
    ]


def test_devices_and_those_who_hold_them(pool, told, now, make_devices):
    lease = pool.acquire(Request("ann", "", 1), lambda s: ["GPU-0"], now)
    told()
    pool.cordon("GPU-1", Cordon.CORDONED, "new fan", now, actor="root")
    pool.cordon("GPU-1", Cordon.CORDONED, "new fan", now, actor="root")
    pool.cordon("GPU-1", Cordon.NONE, "", now, actor="root")
    pool.drain("GPU-0", now + HOUR, "new fan", now, actor="root")
    pool.record_inventory(make_devices(1), now)
    pool.record_inventory([], now)
    device_lost = "not found by the last inventory"
    assert told() == [
        ("cordon", "root", "", "", "GPU-1", "", "new fan"),
        ("uncordon", "root", "", "", "GPU-1", "", ""),
        ("drain", "root", "", "", "GPU-0", "", "new fan"),
        ("shorten", "root", "ann", "", "", "", "new fan"),
        ("notice.add", "root", "ann", "", "GPU-0", "", "new fan"),
        ("device", "hub", "", "", "GPU-1", "", device_lost),
        ("device", "hub", "", "", "GPU-0", "", device_lost),
        ("notice.add", "hub", "ann", "", "GPU-0", "", device_lost),
    ]
    pool.read_notices("ann", "", 100, now, actor="kim")
    pool.read_notices("ann", "", 100, now, actor="kim")
    assert told() == [("notice.read", "kim", "ann", "", "", "", "")]
    assert lease.id


def test_environments_with_the_reason_of_whoever_asked(pool, told, now):
    asked = {"requested_by": "kim", "start_after": False, "user_options": {}, "now": now}
    found = pool.begin_operation(RESET, "ann", "two", reason="broken torch", **asked)
    pool.advance_operation(found.id, OperationStep.STOPPING, now)
    pool.advance_operation(found.id, OperationStep.STOPPING, now)
    pool.switch_environment(found.id, now)
    pool.switch_environment(found.id, now)
    pool.advance_operation(found.id, OperationStep.FAILED, now, "lost")
    pool.begin_operation(UNDO, "ann", "two", reason="wrong one", **asked)
    assert told() == [
        (action, actor, "ann", "two", "", "", reason)
        for action, actor, reason in [
            ("environment.reset", "kim", "broken torch"),
            ("environment.step", "hub", "broken torch"),
            ("environment.step", "hub", "broken torch"),
            ("notice.add", "kim", "broken torch"),
            ("environment.step", "hub", "broken torch"),
            ("environment.undo", "kim", "wrong one"),
        ]
    ]
    details = [line.detail for line in pool.audit_trail() if line.action == "environment.step"]
    assert details == [
        f"reset {found.id} is {step}" for step in ("stopping", "starting", "failed: lost")
    ]


def test_groups(pool, told, now):
    asked = {"requested_by": "kim", "now": now}
    found = pool.begin_group_operation(
        GroupAction.RESET, "red", ("ann", "bob"), reason="exam", **asked
    )
    pool.begin_group_operation(GroupAction.RESET, "red", ("ann", "bob"), reason="exam", **asked)
    operation = pool.begin_operation(
        RESET,
        "ann",
        "",
        start_after=False,
        user_options={},
        reason="exam",
        group_reset=found.id,
        **asked,
    )
    pool.end_group_member(found.id, "bob", MemberState.FAILED, "gone", now)
    pool.finish_group_operation(found.id, now)
    pool.advance_operation(operation.id, OperationStep.DONE, now)
    pool.finish_group_operation(found.id, now)
    pool.finish_group_operation(found.id, now)
    pool.begin_group_operation(GroupAction.RESET, "red", ("ann",), reason="again", **asked)
    pool.cancel_group_operation(GroupAction.RESET, "red", now, actor="lee")
    assert told() == [
        ("group_reset.begin", "kim", "", "", "", "red", "exam"),
        ("environment.reset", "kim", "ann", "", "", "red", "exam"),
        ("group_reset.refuse", "hub", "bob", "", "", "red", "exam"),
        ("environment.step", "hub", "ann", "", "", "red", "exam"),
        ("group_reset.finish", "hub", "", "", "", "red", "exam"),
        ("group_reset.begin", "kim", "", "", "", "red", "again"),
        ("group_reset.cancel", "lee", "", "", "", "red", "again"),
    ]
    with pytest.raises(NotFound):
        pool.end_group_member("none", "bob", MemberState.FAILED, "gone", now)
    assert told() == []


def test_what_else_there_is(pool, told, now):
    pool.set_policy(Policy(auto_extend=False), now)
    pool.set_policy(Policy(auto_extend=False), now)
    pool.claim("hub-1", now, HOUR)
    pool.claim("hub-1", now, HOUR)
    pool.note_examination("ann", "two", "lease1", now, actor="kim")
    found = Verdict("ann", "two", now, (("GC102", "blocker"),))
    pool.keep_verdict(found)
    pool.keep_verdict(found)
    pool.keep_verdict(Verdict("ann", "two", now + HOUR, (("GC102", "blocker"),)))
    pool.keep_verdict(Verdict("ann", "two", now + 2 * HOUR, ()))
    pool.notify("ann", "", NoticeKind.START_LOST, {"reason": "why"}, now)
    assert told() == [
        ("policy.set", "hub", "", "", "", "", ""),
        ("claim", "hub-1", "", "", "", "", ""),
        ("examine", "kim", "ann", "two", "", "", ""),
        ("doctor.verdict", "hub", "ann", "two", "", "", ""),
        ("doctor.verdict", "hub", "ann", "two", "", "", ""),
        ("notice.add", "hub", "ann", "", "", "", "why"),
    ]


def test_a_generation_that_is_given_up(pool, told, now):
    asked = {"requested_by": "ann", "start_after": False, "user_options": {}, "now": now}
    found = pool.begin_operation(RESET, "ann", "", **asked)
    pool.switch_environment(found.id, now)
    pool.advance_operation(found.id, OperationStep.DONE, now)
    told()
    pool.give_up_generation("ann", "", 1, now)
    assert told() == [("environment.give_up", "hub", "ann", "", "", "", "")]


def test_a_line_about_everything(ledger, now):
    facts = {
        "user": "a/b é",
        "server": "two",
        "device": "GPU-0",
        "group": "红",
        "reason": "it's 'broken'; --",
    }
    with ledger._database.write() as connection:
        audit.write(
            connection, at=now, actor="kim", action=Action.DRAIN, lease_id="x", detail="d", **facts
        )
    (line,) = ledger.audit_trail()
    assert {name: getattr(line, name) for name in facts} == facts
    assert (line.actor, line.action, line.lease_id, line.detail) == ("kim", "drain", "x", "d")


def test_every_action_is_documented_with_its_line():
    rows = re.findall(
        r"^\| `([^`]+)` \| (.+) \|$",
        (ROOT / "docs" / "rest-api.md").read_text().partition("## The audit trail")[2],
        re.MULTILINE,
    )
    assert dict(rows) == {action.value: action.about for action in Action}


def test_the_history_of_a_device_has_each_change_of_its_state_once(ledger, make_devices, now):
    (device,) = make_devices(1)
    sick = replace(device, healthy=False, reason="hot")
    for step, found in enumerate([[device], [device], [sick], [], [device]]):
        ledger.record_inventory(found, now + step * HOUR)
    told = [(each.at, each.state, each.reason) for each in ledger.device_history("GPU-0", 9)]
    assert told == [
        (now + 4 * HOUR, "healthy", ""),
        (now + 3 * HOUR, "missing", "not found by the last inventory"),
        (now + 2 * HOUR, "quarantined", "hot"),
        (now, "healthy", ""),
    ]
    first = ledger.device_history("GPU-0", 2)
    assert [e.at for e in ledger.device_history("GPU-0", 9, first[-1].number)] == [
        now + 2 * HOUR,
        now,
    ]
    with pytest.raises(NotFound):
        ledger.device_history("GPU-9", 1)
    ledger.prune(now + 3 * HOUR)
    assert len(ledger.device_history("GPU-0", 9)) == 2
