"""Things of a snapshot in buckets, kept from one snapshot to the next. Pure.

What this module guarantees: what a Sorter says of some things depends on nothing but them, whatever
it sorted before; nothing that it said is changed later, so threads may share it.

Snapshots follow each other with few changes: the next one has the very objects of the last, without
some and with others. Where that is so, the buckets are made from those of the last one, which costs
a comparison (mostly of identities) and a little for each change.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from itertools import compress, count
from operator import is_not
from typing import Any, Generic, TypeVar

MOST_CHANGES = 100  # with more all is sorted anew
CHUNK = 256

T = TypeVar("T")
Bucket = tuple[T, ...]
Key = Callable[[T], Hashable | None]
Place = Callable[[T], Any]


@dataclass(frozen=True, slots=True)
class Buckets(Generic[T]):
    """Things with the same key, in order. `several`: only where there is more than one."""

    all: dict[Any, Bucket[T]]  # not to be changed
    several: dict[Any, Bucket[T]]


@dataclass(frozen=True, slots=True)
class Sorted(Generic[T]):
    """All of the things in order, and the buckets by each key."""

    things: Bucket[T]
    by: tuple[Buckets[T], ...]


class Sorter(Generic[T]):
    """Sorts things into buckets by each of `keys`; None is in no bucket.

    `place` tells a thing's place in the order: that in which they mostly come, and no two have the
    same. A pair of a key and a place of its own makes buckets that are in another order.
    """

    def __init__(self, place: Place[T], *keys: Key[T] | tuple[Key[T], Place[T]]) -> None:
        self._place = place
        self._keys = [key if isinstance(key, tuple) else (key, place) for key in keys]
        nothing: Sorted[T] = Sorted((), tuple([Buckets({}, {}) for _ in keys]))
        self._last: tuple[Bucket[T], Sorted[T]] = ((), nothing)

    def sort(self, things: Bucket[T]) -> Sorted[T]:
        """All of them in order and in buckets; they may come in any order."""
        given, last = self._last
        if things is given:
            return last
        changes = self._changes(last.things, things)
        ordered = things
        if changes is None:
            ordered = tuple(sorted(things, key=self._place))
            buckets = [
                _fill(ordered, key, None if place is self._place else place)
                for key, place in self._keys
            ]
        else:
            buckets = [
                _refill(old, key, place, *changes)
                for old, (key, place) in zip(last.by, self._keys, strict=True)
            ]
        found = Sorted(ordered, tuple(buckets))
        self._last = (things, found)
        return found

    def _changes(self, old: Bucket[T], new: Bucket[T]) -> tuple[list[T], list[T]] | None:
        """What is only in `old`, which is in order, and what only in `new`.

        None: they have little in common, or the new one is not in order.
        """
        place = self._place
        gone: list[T] = []
        come: list[T] = []
        before: T | None = None
        while old or new:
            same = _in_common(old, new)
            if same:
                before = new[same - 1]
                old, new = old[same:], new[same:]
            if new and before is not None and place(new[0]) <= place(before):
                return None
            if old and (not new or place(old[0]) <= place(new[0])):
                gone.append(old[0])
                old = old[1:]
            elif new:
                before = new[0]
                come.append(before)
                new = new[1:]
            if len(gone) + len(come) > MOST_CHANGES:
                return None
        return gone, come


def _in_common(old: Bucket[T], new: Bucket[T]) -> int:
    """With how many of the same things both begin."""
    same, most = 0, min(len(old), len(new))
    # two tuples are compared several times as fast as one by one; identity comes first there, too
    while same < most and old[same : same + CHUNK] == new[same : same + CHUNK]:
        same += CHUNK
    there = slice(same, same + CHUNK)
    return next(compress(count(same), map(is_not, old[there], new[there])), min(same + CHUNK, most))


def _fill(things: Bucket[T], key: Key[T], place: Place[T] | None) -> Buckets[T]:
    """`place` None: the things are in this order already."""
    lists: dict[Hashable, list[T]] = {}
    for its, thing in zip(map(key, things), things, strict=True):
        if its is None:
            continue
        there = lists.get(its)
        if there is None:
            lists[its] = [thing]
        else:
            there.append(thing)
    if place is not None:
        for those in lists.values():
            those.sort(key=place)
    buckets = {its: tuple(those) for its, those in lists.items()}
    return Buckets(buckets, {its: those for its, those in buckets.items() if len(those) > 1})


def _refill(
    old: Buckets[T], key: Key[T], place: Place[T], gone: Sequence[T], come: Sequence[T]
) -> Buckets[T]:
    # `copy` clones a table with gaps; `dict` would enter all of it anew
    buckets, several = old.all.copy(), old.several.copy()
    touched = set()
    for thing in gone:
        if (its := key(thing)) is not None:
            touched.add(its)
            there = buckets[its]
            at = bisect_left(there, place(thing), key=place)
            buckets[its] = there[:at] + there[at + 1 :]
    for thing in come:
        if (its := key(thing)) is not None:
            touched.add(its)
            there = buckets.get(its, ())
            at = bisect_left(there, place(thing), key=place)
            buckets[its] = (*there[:at], thing, *there[at:])
    for its in touched:
        several.pop(its, None)
        if len(buckets[its]) > 1:
            several[its] = buckets[its]
        elif not buckets[its]:
            del buckets[its]
    return Buckets(buckets, several)
