"""Resets of whole groups in the ledger: fixed members, one result each, one under way."""

from __future__ import annotations

import pytest
from resets import reset

from hub_ext.errors import Conflict, NotFound
from hub_ext.models import (
    GroupAction,
    GroupOperationState,
    MemberState,
    OperationKind,
    OperationStep,
)


def begin(ledger, now, users=("bob", "ann"), group="red"):
    return ledger.begin_group_operation(
        GroupAction.RESET, group, users, requested_by="kim", reason="the exam begins", now=now
    )


def begin_member(ledger, now, found, user):
    return ledger.begin_operation(
        OperationKind.RESET,
        user,
        "",
        requested_by=found.requested_by,
        start_after=False,
        user_options={},
        now=now,
        reason=found.reason,
        group_reset=found.id,
    )


def finish(ledger, now, operation):
    ledger.switch_environment(operation.id, now)
    return ledger.advance_operation(operation.id, OperationStep.DONE, now)


def test_it_is_done_when_every_member_has_a_result(ledger, now):
    found = begin(ledger, now)
    assert [member.user for member in found.members] == ["ann", "bob"]
    operation = begin_member(ledger, now, found, "ann")
    assert (operation.group_reset, operation.reason) == (found.id, "the exam begins")
    assert ledger.finish_group_operation(found.id).state is GroupOperationState.RUNNING
    done = finish(ledger, now, operation)
    ledger.end_group_member(found.id, "bob", MemberState.FAILED, "gone")
    after = ledger.finish_group_operation(found.id)
    assert after.state is GroupOperationState.DONE
    assert [(each.operation, each.note) for each in after.members] == [
        (done, ""),
        (None, "gone"),
    ]
    assert ledger.group_operation_of("red") == after
    assert ledger.unfinished_group_operations() == ()


def test_nobody_is_reset_twice_by_one(ledger, now):
    found = begin(ledger, now)
    finish(ledger, now, begin_member(ledger, now, found, "ann"))
    with pytest.raises(Conflict):
        begin_member(ledger, now, found, "ann")
    assert ledger.environment("ann", "").generation == 2


def test_who_is_not_in_it_is_not_reset_by_it(ledger, now):
    with pytest.raises(Conflict):
        begin_member(ledger, now, begin(ledger, now), "eve")
    assert ledger.unfinished_operations() == ()


def test_asking_again_tells_of_the_one_under_way(ledger, now):
    found = begin(ledger, now)
    assert begin(ledger, now, users=("eve",)) == found
    other = begin(ledger, now, group="blue")
    assert ledger.unfinished_group_operations() == (
        found,
        other,
    ) or ledger.unfinished_group_operations() == (
        other,
        found,
    )


def test_after_a_cancel_nobody_is_begun_and_what_had_begun_ends(ledger, now):
    found = begin(ledger, now)
    operation = begin_member(ledger, now, found, "ann")
    assert (
        ledger.cancel_group_operation(GroupAction.RESET, "red").state
        is GroupOperationState.CANCELLED
    )
    with pytest.raises(Conflict):
        begin_member(ledger, now, found, "bob")
    finish(ledger, now, operation)
    assert ledger.finish_group_operation(found.id).state is GroupOperationState.CANCELLED
    with pytest.raises(Conflict, match="No reset of this group"):
        ledger.cancel_group_operation(GroupAction.RESET, "red")
    again = begin(ledger, now)
    assert again.id != found.id
    assert ledger.group_operation_of("red") == again


def test_a_users_own_reset_is_no_part_of_it(ledger, now):
    found = begin(ledger, now)
    reset(ledger, "ann", "", now)
    reset(ledger, "ann", "second", now)
    assert all(member.operation is None for member in ledger.group_operation(found.id).members)


def test_a_group_of_nobody_is_done_at_once(ledger, now):
    found = begin(ledger, now, users=())
    assert ledger.finish_group_operation(found.id).state is GroupOperationState.DONE


def test_what_there_is_not(ledger):
    assert ledger.group_operation_of("red") is None
    with pytest.raises(NotFound):
        ledger.group_operation("nope")
    with pytest.raises(Conflict):
        ledger.cancel_group_operation(GroupAction.RESET, "red")
