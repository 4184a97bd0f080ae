"""Buckets that are kept from one time to the next say what fresh ones would."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from hub_ext.buckets import MOST_CHANGES, Sorter


@dataclass(frozen=True)
class Thing:
    place: int
    size: int
    colour: str | None = "red"


def new_sorter() -> Sorter[Thing]:
    return Sorter(
        lambda thing: thing.place,
        lambda thing: thing.colour,
        (lambda thing: thing.colour, lambda thing: (thing.size, thing.place)),
    )


THINGS = st.builds(
    Thing, st.integers(0, 20), st.integers(0, 3), st.sampled_from([None, "red", "green"])
)
# by place, so that no two have the same; in order or not
LISTS = st.dictionaries(st.integers(0, 20), THINGS).map(
    lambda found: [Thing(at, each.size, each.colour) for at, each in found.items()]
)


@given(st.lists(st.tuples(LISTS, st.booleans()), min_size=2, max_size=5))
def test_they_depend_on_nothing_that_was_sorted_before(rounds: list) -> None:
    sorter = new_sorter()
    known: dict[Thing, Thing] = {}
    for things, in_order in rounds:
        if in_order:
            things.sort(key=lambda thing: thing.place)
        # the very objects of earlier rounds, where there are equal ones
        given_ones = tuple([known.setdefault(thing, thing) for thing in things])
        found = sorter.sort(given_ones)
        assert found == new_sorter().sort(given_ones)
        assert found.things == tuple(sorted(things, key=lambda thing: thing.place))
        reds = [thing for thing in found.things if thing.colour == "red"]
        by_colour, by_size = found.by
        assert list(by_colour.all.get("red", ())) == reds
        assert list(by_colour.several.get("red", ())) == (reds if len(reds) > 1 else [])
        assert list(by_size.all.get("red", ())) == sorted(reds, key=lambda each: each.size)


def test_what_was_said_does_not_change() -> None:
    sorter = new_sorter()
    first = tuple([Thing(number, 0) for number in range(5)])
    before = sorter.sort(first)
    bucket = before.by[0].all["red"]
    sorter.sort((*first[1:], Thing(9, 0, "green")))
    assert before.by[0].all == {"red": bucket} == {"red": first}


def test_a_key_is_asked_for_what_changed_only() -> None:
    asked: list[Thing] = []
    sorter: Sorter[Thing] = Sorter(
        lambda each: each.place, lambda each: asked.append(each) or "all"
    )
    things = tuple([Thing(number, 0) for number in range(10 * MOST_CHANGES)])
    sorter.sort(things)
    asked.clear()
    come, gone = Thing(10_000, 0), things[7]
    found = sorter.sort((*things[:7], *things[8:], come))
    assert asked == [gone, come]
    assert found.by[0].all["all"] == found.things
