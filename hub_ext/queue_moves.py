"""Where those who wait stand after an admin has moved one of them. Pure.

An admin's order is a number, the `boost`, of the entry that is moved and of all that are before its
new place: they stand before everybody else, highest first (queue_order.py). It is kept with the
entry and goes with it.

What this module guarantees, at the moment of the move: the moved one stands at the place that was
asked for, or last if there are fewer; all others keep their order among themselves. Later, nobody
comes before the moved one who was behind it then, unless an admin moves them.

Those who keep their place for it, without being moved themselves, do so no longer than somebody who
was moved stands behind them. That is seen to whenever somebody leaves the line or a move is undone
(`released`), not at a move, which changes the order of nobody else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .models import QueueEntry


def moved(line: Sequence[QueueEntry], sequence: int, position: int) -> dict[int, int]:
    """By sequence, the boosts of all that have one when `sequence` is moved to `position` (from 1).

    `line` is everybody who can be served some day, first to be served first. Raises KeyError if
    `sequence` is not among them.
    """
    found = {entry.sequence: entry for entry in line}
    entry = found[sequence]
    rest = [each for each in line if each.sequence != sequence]
    rest.insert(max(position, 1) - 1, entry)
    last = max(number for number, each in enumerate(rest) if each.boost or each is entry)
    return {each.sequence: last + 1 - number for number, each in enumerate(rest[: last + 1])}


def released(boosts: Mapping[int, int], moves: Sequence[int]) -> set[int]:
    """Of those with a boost who are not needed there any more; `moves` are those who were moved."""
    lowest = min((boosts[each] for each in moves if boosts.get(each)), default=None)
    return {
        each
        for each, boost in boosts.items()
        if boost and each not in moves and (lowest is None or boost < lowest)
    }
