"""Who in a class comes first."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub_ext.attention import ENDS_SOON, FAILED_FOR, IDLE_FOR, Facts, Need, needs, urgency
from hub_ext.models import OFFER_RESET_AFTER
from hub_ext.space import Level
from hub_ext.verdicts import Word

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)

moments = st.none() | st.integers(-300, 300).map(lambda minutes: NOW + minutes * MINUTE)
classes = st.lists(
    st.builds(
        Facts,
        user=st.sampled_from(["ada", "bob", "cleo", "数学"]),
        server=st.sampled_from(["", "second"]),
        hand_since=moments,
        verdict=st.none() | st.sampled_from(Word),
        failed_starts=st.integers(0, 4),
        devices_ill=st.integers(0, 2),
        disk=st.none() | st.sampled_from(Level),
        run_hangs_since=moments,
        run_failed_at=moments,
        reclaim_at=moments,
        expires_at=moments,
        waits_since=moments,
        idle_since=moments,
    ),
    max_size=8,
    unique_by=lambda facts: (facts.user, facts.server),
)


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({}, ()),
        ({"hand_since": NOW}, (Need.HAND,)),
        ({"verdict": Word.BLOCKED}, (Need.BLOCKED,)),
        ({"verdict": Word.DEGRADED}, (Need.DEGRADED,)),
        ({"verdict": Word.ADVICE}, ()),
        ({"verdict": Word.HEALTHY}, ()),
        ({"failed_starts": OFFER_RESET_AFTER - 1}, ()),
        ({"failed_starts": OFFER_RESET_AFTER}, (Need.START_FAILS,)),
        ({"devices_ill": 1}, (Need.DEVICE_ILL,)),
        ({"disk": Level.SHORT}, ()),
        ({"disk": Level.FULL}, (Need.DISK_FULL,)),
        ({"expires_at": NOW + ENDS_SOON}, (Need.ENDS_SOON,)),
        ({"expires_at": NOW + ENDS_SOON + MINUTE}, ()),
        ({"waits_since": NOW}, (Need.WAITS,)),
        ({"run_hangs_since": NOW - 9 * IDLE_FOR}, (Need.RUN_HANGS,)),
        ({"run_failed_at": NOW - FAILED_FOR + MINUTE}, (Need.RUN_FAILED,)),
        ({"run_failed_at": NOW - FAILED_FOR}, ()),
        ({"idle_since": NOW - IDLE_FOR}, (Need.IDLE,)),
        ({"idle_since": NOW - IDLE_FOR + MINUTE}, ()),
        # said once: that the devices are about to be taken back says that they are idle
        ({"idle_since": NOW - IDLE_FOR, "reclaim_at": NOW}, (Need.RECLAIM,)),
        (
            {"verdict": Word.DEGRADED, "hand_since": NOW, "waits_since": NOW},
            (Need.HAND, Need.DEGRADED, Need.WAITS),
        ),
    ],
)
def test_what_counts_as_a_need(facts: dict[str, object], expected: tuple[Need, ...]) -> None:
    assert needs(Facts("ada", **facts), NOW) == expected  # type: ignore[arg-type]


def test_who_waits_longest_comes_first() -> None:
    """Of those with the same need; and a hand before everything else."""
    people = [
        Facts("healthy"),
        Facts("blocked", verdict=Word.BLOCKED),
        Facts("late", hand_since=NOW),
        Facts("early", hand_since=NOW - MINUTE),
        Facts("ends-later", expires_at=NOW + 2 * MINUTE),
        Facts("ends-first", expires_at=NOW + MINUTE, verdict=Word.HEALTHY),
    ]
    ordered = sorted(people, key=lambda facts: urgency(facts, NOW))
    assert [facts.user for facts in ordered] == [
        "early",
        "late",
        "blocked",
        "ends-first",
        "ends-later",
        "healthy",
    ]


@given(classes, st.randoms(use_true_random=False))
def test_the_order_is_total_and_follows_the_needs(
    people: list[Facts], chance: random.Random
) -> None:
    ordered = sorted(people, key=lambda facts: urgency(facts, NOW))
    shuffled = list(people)
    chance.shuffle(shuffled)
    assert sorted(shuffled, key=lambda facts: urgency(facts, NOW)) == ordered
    places = [
        list(Need).index(found[0]) if found else len(Need)
        for found in (needs(facts, NOW) for facts in ordered)
    ]
    assert places == sorted(places)
    for facts in people:
        found = needs(facts, NOW)
        assert list(found) == sorted(set(found), key=list(Need).index)
