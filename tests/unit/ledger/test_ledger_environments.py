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
from hub_ext.models import (
    Environment,
    KeptGeneration,
    NoticeKind,
    OperationKind,
    OperationStep,
    Request,
)

MINUTE = timedelta(minutes=1)


def test_a_new_server_is_in_generation_one(ledger):
    assert ledger.environment("ann", "") == Environment("ann", "", 1, 1, ())
    assert ledger.environments() == ()


def kept(found: Environment) -> list[int]:
    """Where an undo can go back to, the one left last first."""
    return [each.generation for each in found.kept]


def test_reset_and_undo(ledger, now):
    first = reset(ledger, "ann", "", now)
    assert first == Environment("ann", "", 2, 2, (KeptGeneration(1, now, 2),))
    second = reset(ledger, "ann", "", now + MINUTE)
    assert second == Environment(
        "ann", "", 3, 3, (KeptGeneration(2, now + MINUTE, 2), KeptGeneration(1, now, 1))
    )
    third = reset(ledger, "ann", "", now)
    assert (third.generation, third.newest, kept(third)) == (4, 4, [3, 2])
    back = undo(ledger, "ann", "", now)
    assert (back.generation, back.newest, kept(back)) == (3, 4, [4, 2])
    fifth = reset(ledger, "ann", "", now)
    assert (fifth.generation, fifth.newest, kept(fifth)) == (5, 5, [3, 4])
    assert ledger.environment("ann", "") == fifth
    assert ledger.environment("ann", "second").generation == 1
    assert ledger.environments() == (("ann", ""),)


def test_an_undo_can_be_undone(ledger, now):
    reset(ledger, "ann", "", now)
    assert undo(ledger, "ann", "", now).generation == 1
    assert undo(ledger, "ann", "", now).generation == 2
    assert undo(ledger, "ann", "", now).generation == 1
    assert ledger.expired_generations("ann", "") == ()


def test_either_of_the_last_two_can_be_chosen(ledger, now):
    reset(ledger, "ann", "", now)
    reset(ledger, "ann", "", now)
    found = undo(ledger, "ann", "", now, 1)
    assert (found.generation, kept(found)) == (1, [3, 2])
    found = undo(ledger, "ann", "", now, 2)
    assert (found.generation, kept(found)) == (2, [1, 3])


def test_nothing_to_undo(ledger, now):
    with pytest.raises(Conflict, match="no reset to undo"):
        undo(ledger, "ann", "", now)
    with pytest.raises(Conflict, match="no reset to undo"):
        undo(ledger, "ann", "", now, 1)


def test_what_is_not_kept_cannot_be_gone_back_to(ledger, now):
    for _ in range(3):
        reset(ledger, "ann", "", now)
    for generation in (1, 5, 99):
        with pytest.raises(Conflict, match=f"Generation {generation} is not kept.*: 3, 2"):
            undo(ledger, "ann", "", now, generation)
    with pytest.raises(Conflict, match="Generation 4 is in use already"):
        undo(ledger, "ann", "", now, 4)
    assert ledger.unfinished_operations() == ()
    assert ledger.environment("ann", "").generation == 4


def test_a_clock_that_goes_back_does_not_mix_the_order_up(ledger, now):
    reset(ledger, "ann", "", now)
    reset(ledger, "ann", "", now - MINUTE)
    assert kept(ledger.environment("ann", "")) == [2, 1]


def test_the_last_two_generations_left_are_kept(ledger, now):
    for _ in range(3):
        reset(ledger, "ann", "", now)
    assert ledger.expired_generations("ann", "") == (1,)
    reset(ledger, "ann", "", now)
    assert ledger.expired_generations("ann", "") == (1, 2)
    ledger.forget_generation("ann", "", 1)
    assert ledger.expired_generations("ann", "") == (2,)
    for held in (3, 4, 5, 99):
        with pytest.raises(Conflict):
            ledger.forget_generation("ann", "", held)


def test_an_undone_generation_is_kept_until_two_others_were_left(ledger, now):
    reset(ledger, "ann", "", now)  # 2
    undo(ledger, "ann", "", now)  # 1, left 2
    assert ledger.expired_generations("ann", "") == ()
    reset(ledger, "ann", "", now)  # 3, left 1
    assert ledger.expired_generations("ann", "") == ()
    reset(ledger, "ann", "", now)  # 4, left 3
    assert ledger.expired_generations("ann", "") == (2,)


STEPS = st.one_of(
    st.sampled_from(["reset", "clean"]),
    st.tuples(st.just("undo"), st.one_of(st.none(), st.integers(1, 8))),
    st.tuples(st.just("give up"), st.integers(1, 8)),
)


@settings(
    max_examples=settings.default.max_examples // 8,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(steps=st.lists(STEPS, max_size=14))
def test_no_sequence_of_resets_loses_what_can_be_gone_back_to(ledger, now, steps):
    user = uuid.uuid4().hex  # one ledger for all examples
    before = ledger.environment(user, "")
    volumes = {1}
    left: list[int] = []  # the last one last, without the one in use
    for step in steps:
        if step == "clean":
            for generation in ledger.expired_generations(user, ""):
                ledger.forget_generation(user, "", generation)
                volumes.remove(generation)
            assert ledger.expired_generations(user, "") == ()
            assert volumes == {before.generation, *left[-2:]}, "nothing else is kept"
            continue
        if step[0] == "give up":
            if step[1] not in left[-2:]:
                with pytest.raises(Conflict):
                    ledger.give_up_generation(user, "", step[1])
            else:
                ledger.give_up_generation(user, "", step[1])
                assert step[1] in ledger.expired_generations(user, "")
                # what was left before it does not come back in its place
                left = [g for g in left[-2:] if g != step[1]]
            before = ledger.environment(user, "")
            assert kept(before) == left[-2:][::-1]
            continue
        if step == "reset":
            after = reset(ledger, user, "", now)
            assert after.generation == after.newest == before.newest + 1
            volumes.add(after.generation)
        else:
            _undo, wanted = step
            if not left or wanted not in (None, *left[-2:]):
                with pytest.raises(Conflict):
                    undo(ledger, user, "", now, wanted)
                assert ledger.environment(user, "") == before
                continue
            after = undo(ledger, user, "", now, wanted)
            assert after.generation == (left[-1] if wanted is None else wanted)
            assert after.newest == before.newest
        left = [g for g in left if g not in (before.generation, after.generation)]
        left.append(before.generation)
        assert kept(after) == left[-2:][::-1]
        assert [each.resets_left for each in after.kept] == [2, 1][: len(after.kept)]
        assert {after.generation, *kept(after)} <= volumes
        before = after


def test_nothing_is_given_up_while_a_reset_is_under_way(ledger, now):
    reset(ledger, "ann", "", now)
    begin(ledger, now, OperationKind.UNDO)
    with pytest.raises(Conflict, match="undo of this server is under way"):
        ledger.give_up_generation("ann", "", 1)
    assert kept(ledger.environment("ann", "")) == [1]


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


def test_an_operation_keeps_where_it_goes_and_why(ledger, now):
    reset(ledger, "ann", "", now)
    begun = begin(ledger, now, OperationKind.UNDO, reason="wrong course")
    assert (begun.generation, begun.reason) == (1, "wrong course")
    assert ledger.operation(begun.id) == begun


def test_the_user_is_told_once_what_somebody_else_did_and_why(ledger, now):
    for kind, told in (
        (OperationKind.RESET, NoticeKind.ENVIRONMENT_RESET),
        (OperationKind.UNDO, NoticeKind.ENVIRONMENT_UNDONE),
    ):
        begun = begin(ledger, now, kind, reason="for the exam")
        assert all(each.kind is not told for each in ledger.notices("ann", ""))
        ledger.switch_environment(begun.id, now)
        ledger.switch_environment(begun.id, now)
        ledger.advance_operation(begun.id, OperationStep.DONE, now)
        (notice,) = [each for each in ledger.notices("ann", "") if each.kind is told]
        assert notice.detail == {"by": "teacher", "reason": "for the exam"}


def test_nobody_is_told_of_their_own_reset(ledger, now):
    reset(ledger, "ann", "", now)
    assert ledger.notices("ann") == ()


def test_a_switch_that_fails_leaves_the_step(ledger, now):
    reset(ledger, "ann", "", now)
    begun = begin(ledger, now, OperationKind.UNDO)
    with ledger._database.write() as connection:  # no call of the ledger gets there
        environments.reset(connection, "ann", "", now)
        environments.reset(connection, "ann", "", now)
    with pytest.raises(Conflict):
        ledger.switch_environment(begun.id, now)
    assert ledger.operation(begun.id).step is OperationStep.REQUESTED


def test_failed_starts_in_a_row_are_counted_until_one_is_good(ledger, now):
    assert ledger.failed_starts("ann", "") == 0
    assert [ledger.add_failed_start("ann", "", 1, now) for _ in range(3)] == [1, 2, 3]
    assert ledger.add_failed_start("ann", "second", 1, now) == 1
    assert ledger.failed_starts("ann", "") == 3
    lease = ledger.acquire(Request("ann", "", 0), lambda snapshot: [], now)
    assert ledger.failed_starts("ann", "") == 3, "it does not answer yet"
    ledger.mark_running(lease.id, "c1", now)
    assert (ledger.failed_starts("ann", ""), ledger.failed_starts("ann", "second")) == (0, 1)


def test_an_environment_of_another_generation_begins_the_count_anew(ledger, now):
    for _ in range(2):
        ledger.add_failed_start("ann", "", 1, now)
    reset(ledger, "ann", "", now)
    assert ledger.failed_starts("ann", "") == 0
    assert ledger.add_failed_start("ann", "", 2, now) == 1
    undo(ledger, "ann", "", now)
    assert ledger.failed_starts("ann", "") == 0
    assert ledger.add_failed_start("ann", "", 1, now) == 1
