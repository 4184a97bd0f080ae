"""Generations, and the operations that change them."""

from __future__ import annotations

import uuid
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from resets import reset, undo

from hub_ext.errors import Conflict, NotFound
from hub_ext.ledger import environments
from hub_ext.models import Environment, OperationKind, OperationStep

MINUTE = timedelta(minutes=1)


def test_a_new_server_is_in_generation_one(ledger):
    assert ledger.environment("ann", "") == Environment("ann", "", 1, 1, ())
    assert ledger.environments() == ()


def test_reset_and_undo(ledger, now):
    assert reset(ledger, "ann", "", now) == Environment("ann", "", 2, 2, (1,))
    assert reset(ledger, "ann", "", now) == Environment("ann", "", 3, 3, (1, 2))
    assert reset(ledger, "ann", "", now) == Environment("ann", "", 4, 4, (2, 3))
    assert undo(ledger, "ann", "", now) == Environment("ann", "", 3, 4, (2,))
    assert reset(ledger, "ann", "", now) == Environment("ann", "", 5, 5, (2, 3))
    assert ledger.environment("ann", "") == Environment("ann", "", 5, 5, (2, 3))
    assert ledger.environment("ann", "second").generation == 1
    assert ledger.environments() == (("ann", ""),)


def test_nothing_to_undo(ledger, now):
    with pytest.raises(Conflict, match="no reset to undo"):
        undo(ledger, "ann", "", now)
    reset(ledger, "ann", "", now)
    undo(ledger, "ann", "", now)
    with pytest.raises(Conflict):
        undo(ledger, "ann", "", now)


def test_the_last_two_generations_left_are_kept(ledger, now):
    for _ in range(3):
        reset(ledger, "ann", "", now)
    assert ledger.expired_generations("ann", "") == (1,)
    reset(ledger, "ann", "", now)
    assert ledger.expired_generations("ann", "") == (1, 2)
    ledger.forget_generation("ann", "", 1)
    assert ledger.expired_generations("ann", "") == (2,)
    for kept in (3, 4, 5, 99):
        with pytest.raises(Conflict):
            ledger.forget_generation("ann", "", kept)


def test_an_undone_generation_is_kept_until_two_others_were_left(ledger, now):
    reset(ledger, "ann", "", now)  # 2
    undo(ledger, "ann", "", now)  # 1, left 2
    assert ledger.expired_generations("ann", "") == ()
    reset(ledger, "ann", "", now)  # 3, left 1
    assert ledger.expired_generations("ann", "") == ()
    reset(ledger, "ann", "", now)  # 4, left 3
    assert ledger.expired_generations("ann", "") == (2,)


@settings(
    max_examples=settings.default.max_examples // 8,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(steps=st.lists(st.sampled_from(["reset", "undo", "clean"]), max_size=14))
def test_no_sequence_of_resets_loses_what_can_be_gone_back_to(ledger, now, steps):
    user = uuid.uuid4().hex  # one ledger for all examples
    before = ledger.environment(user, "")
    volumes = {1}
    left: list[int] = []
    for step in steps:
        if step == "clean":
            for generation in ledger.expired_generations(user, ""):
                ledger.forget_generation(user, "", generation)
                volumes.remove(generation)
            assert ledger.expired_generations(user, "") == ()
        elif step == "reset":
            after = reset(ledger, user, "", now)
            assert after.generation == after.newest == before.newest + 1
            assert after.history == (*before.history, before.generation)[-2:]
            volumes.add(after.generation)
            left.append(before.generation)
        elif before.history:
            after = undo(ledger, user, "", now)
            assert after.generation == before.history[-1]
            assert after.newest == before.newest
            left.append(before.generation)
        else:
            with pytest.raises(Conflict):
                undo(ledger, user, "", now)
        before = ledger.environment(user, "")
        assert {before.generation, *before.history} <= volumes
        last_left = [g for g in dict.fromkeys(reversed(left)) if g != before.generation][:2]
        assert set(last_left) <= volumes
        assert volumes <= set(range(1, before.newest + 1))


def begin(ledger, now, kind=OperationKind.RESET, user="ann", **changes):
    arguments = {"requested_by": "teacher", "start_after": True, "user_options": {"gpus": 1}}
    return ledger.begin_operation(kind, user, "", now=now, **(arguments | changes))


def test_an_operation_is_kept_with_all_that_is_needed_to_finish_it(ledger, now):
    operation = begin(ledger, now, user_options={"gpus": 1, "profile": {"name": "größer"}})
    assert ledger.operation(operation.id) == operation
    assert operation.user_options == {"gpus": 1, "profile": {"name": "größer"}}
    assert (operation.step, operation.requested_by) == (OperationStep.REQUESTED, "teacher")
    assert (operation.requested_at, operation.start_after) == (now, True)
    assert ledger.unfinished_operations() == (operation,)
    assert ledger.operation_of("ann", "") == operation
    assert ledger.operation_of("bob", "") is None


def test_one_operation_per_server(ledger, now):
    first = begin(ledger, now)
    with pytest.raises(Conflict, match="under way"):
        begin(ledger, now)
    begin(ledger, now, user="bob")
    ledger.advance_operation(first.id, OperationStep.FAILED, now, "the hub said no")
    second = begin(ledger, now + MINUTE)
    assert ledger.operation_of("ann", "") == second
    assert ledger.operation(first.id).error == "the hub said no"


def test_an_undo_needs_something_to_go_back_to(ledger, now):
    with pytest.raises(Conflict, match="no reset to undo"):
        begin(ledger, now, OperationKind.UNDO)
    assert ledger.unfinished_operations() == ()


def test_steps_go_forward_only(ledger, now):
    operation = begin(ledger, now)
    ledger.advance_operation(operation.id, OperationStep.SWITCHING, now + MINUTE)
    again = ledger.advance_operation(operation.id, OperationStep.SWITCHING, now + 2 * MINUTE)
    assert again.updated_at == now + 2 * MINUTE
    with pytest.raises(Conflict):
        ledger.advance_operation(operation.id, OperationStep.STOPPING, now)
    done = ledger.advance_operation(operation.id, OperationStep.DONE, now)
    assert ledger.advance_operation(operation.id, OperationStep.DONE, now + MINUTE) == done
    with pytest.raises(Conflict):
        ledger.advance_operation(operation.id, OperationStep.FAILED, now)
    assert ledger.unfinished_operations() == ()
    with pytest.raises(NotFound):
        ledger.advance_operation("nope", OperationStep.DONE, now)


def test_the_generation_changes_once_however_often_the_service_is_killed(ledger, now):
    operation = begin(ledger, now)
    ledger.advance_operation(operation.id, OperationStep.SWITCHING, now)
    changed = ledger.switch_environment(operation.id, now)
    assert changed.generation == 2
    assert ledger.switch_environment(operation.id, now) == changed
    assert ledger.operation(operation.id).step is OperationStep.STARTING
    ledger.advance_operation(operation.id, OperationStep.DONE, now)
    with pytest.raises(Conflict):
        ledger.switch_environment(operation.id, now)
    assert ledger.environment("ann", "") == changed

    begun = begin(ledger, now, OperationKind.UNDO)
    assert ledger.switch_environment(begun.id, now).generation == 1
    assert ledger.switch_environment(begun.id, now).generation == 1


def test_a_switch_that_fails_leaves_the_step(ledger, now):
    reset(ledger, "ann", "", now)
    begun = begin(ledger, now, OperationKind.UNDO)
    with ledger._database.write() as connection:  # no call of the ledger gets there
        environments.undo(connection, "ann", "", now)
    with pytest.raises(Conflict):
        ledger.switch_environment(begun.id, now)
    assert ledger.operation(begun.id).step is OperationStep.REQUESTED
