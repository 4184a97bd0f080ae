"""Where those who wait stand when an admin has moved some of them, in any order."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from lines import HOUR, entry, record, snapshot

from hub_ext.fair_queue import decide, line_up
from hub_ext.models import QueueMove, Snapshot
from hub_ext.queue_moves import moved, released

MOVE = QueueMove(entry(0).enqueued_at, "root", "the demo")


def line_of(seen: Snapshot) -> list[int]:
    return [place.entry.sequence for place in line_up(seen)]


def after(seen: Snapshot, sequence: int, position: int) -> Snapshot:
    """What the ledger makes of a move."""
    boosts = moved([place.entry for place in line_up(seen)], sequence, position)
    queue = tuple(
        replace(
            each,
            boost=boosts.get(each.sequence, each.boost),
            move=MOVE if each.sequence == sequence else each.move,
        )
        for each in seen.queue
    )
    return replace(seen, queue=queue)


def without(seen: Snapshot, sequence: int, *, undone: bool) -> Snapshot:
    """What it makes of an undo, or when somebody is served or leaves."""
    queue = [
        replace(each, boost=0, move=None) if each.sequence == sequence else each
        for each in seen.queue
        if undone or each.sequence != sequence
    ]
    boosts = {each.sequence: each.boost for each in queue}
    free = released(boosts, [each.sequence for each in queue if each.move])
    return replace(
        seen,
        queue=tuple(replace(each, boost=0) if each.sequence in free else each for each in queue),
    )


@st.composite
def lines(draw: st.DrawFn) -> Snapshot:
    """Up to seven who wait for one busy device, each of another level and use."""
    numbers = range(draw(st.integers(1, 7)))
    queue = [
        entry(
            number,
            user=f"u{draw(st.integers(0, 3))}",
            waited=(9 - number) * HOUR,
            priority=draw(st.sampled_from([0, 0, 5, 10])),
        )
        for number in numbers
    ]
    return snapshot([record("a", "x")], queue, usage={f"u{n}": n * 1000.0 for n in range(4)})


places = st.integers(1, 9)


@given(lines(), st.lists(st.tuples(st.integers(0, 6), places), max_size=5))
def test_a_move_gives_that_place_and_leaves_the_others_in_order(seen, moves):
    for number, position in moves:
        sequence = seen.queue[number % len(seen.queue)].sequence
        before = line_of(seen)
        seen = after(seen, sequence, position)
        line = line_of(seen)
        assert line.index(sequence) == min(position, len(line)) - 1
        before.remove(sequence)
        line.remove(sequence)
        assert line == before


@given(lines(), st.integers(0, 6), places, st.integers(0, 3))
def test_nobody_comes_before_who_was_moved_later(seen, number, position, priority):
    sequence = seen.queue[number % len(seen.queue)].sequence
    seen = after(seen, sequence, position)
    before = line_of(seen)[: line_of(seen).index(sequence)]
    new = entry(99, user="new", priority=10)
    seen = replace(
        seen,
        now=seen.now + 20 * HOUR,
        queue=(*seen.queue, replace(new, enqueued_at=seen.now)),
        usage={"u0": 1e9},
    )
    assert line_of(seen)[: len(before) + 1] == [*before, sequence]


@given(lines(), st.lists(st.tuples(st.integers(0, 6), places), max_size=4), st.integers(0, 6))
def test_who_keeps_a_place_for_nobody_has_an_ordinary_one(seen, moves, gone):
    ordinary = line_of(seen)
    for number, position in moves:
        seen = after(seen, seen.queue[number % len(seen.queue)].sequence, position)
    for number in range(gone, gone + 7):
        sequence = seen.queue[number % len(seen.queue)].sequence
        seen = without(seen, sequence, undone=True)
        fixed = [each.boost for each in seen.queue if each.boost and not each.move]
        wanted = [each.boost for each in seen.queue if each.move]
        assert all(boost > min(wanted) for boost in fixed) if fixed else True
    if all(each.move is None for each in seen.queue):
        assert line_of(seen) == ordinary


def test_who_was_moved_to_the_front_is_served_first_and_what_is_free_is_kept_for_it():
    queue = [entry(1, waited=3 * HOUR), entry(2, 2, waited=2 * HOUR), entry(3, waited=HOUR)]
    seen = snapshot([record("a"), record("b", "x")], queue)
    assert set(decide(seen).grants) == {("u1", "1")}
    seen = after(seen, 2, 1)
    decision = decide(seen)
    assert decision.grants == {}
    assert decision.reservations["u2", "2"].device_uuids[0] == "a"
    assert line_of(seen) == [2, 1, 3]
    assert line_of(without(seen, 2, undone=False)) == [1, 3]
