"""What is given up for want of space, and what never is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub_ext.space import (
    GIB,
    KeptEnvironment,
    Level,
    UserSpace,
    VolumeFact,
    by_user,
    level,
    limit_bytes,
    to_give_up,
)

START = datetime(2026, 11, 27, tzinfo=UTC)

servers = st.sampled_from(["", "a", "b"])
generations = st.tuples(servers, st.integers(1, 6))
sizes = st.integers(0, 100)


@st.composite
def spaces(draw: st.DrawFn) -> tuple[UserSpace, list[KeptEnvironment], set[tuple[str, int]]]:
    """A user's volumes, what is kept for an undo, and what is in use."""
    environments = draw(st.dictionaries(generations, sizes, max_size=10))
    used = draw(st.sets(st.sampled_from(sorted(environments)))) if environments else set()
    kept = [
        KeptEnvironment(server, number, START + timedelta(minutes=draw(st.integers(0, 5))))
        for server, number in draw(st.permutations(sorted(set(environments) - used)))
    ]
    return UserSpace(environments, draw(sizes)), kept, used


@given(spaces(), st.none() | st.integers(1, 300))
def test_what_is_given_up(found, limit: int | None) -> None:
    space, kept, used = found
    given_up = to_give_up(space, limit, kept)
    keys = [(each.server, each.generation) for each in given_up]
    assert len(set(keys)) == len(keys) and not used & set(keys)
    assert set(given_up) <= set(kept)
    assert list(given_up) == sorted(given_up, key=lambda each: each.left_at)
    if limit is None:
        assert not given_up
        return
    # no more than needed: without the last of them it is still too much
    left = space
    for each in given_up:
        assert left.environments_bytes >= limit
        left = left.without((each.server, each.generation))
    # enough, or all that takes anything
    rest = [each for each in kept if each not in given_up]
    assert left.environments_bytes < limit or not any(
        space.environments[each.server, each.generation] for each in rest
    )
    # an older one that takes something never stays where a younger one goes
    if given_up:
        newest = max(each.left_at for each in given_up)
        for each in rest:
            assert each.left_at >= newest or not space.environments[each.server, each.generation]


@given(
    st.lists(
        st.builds(
            VolumeFact,
            st.sampled_from(["ada", "bob"]),
            st.none() | sizes,
            st.none() | generations,
        )
    )
)
def test_every_byte_is_counted_once_for_its_user(volumes: list[VolumeFact]) -> None:
    found = by_user(volumes)
    for user in ("ada", "bob"):
        total = sum(each.size or 0 for each in volumes if each.user == user)
        space = found.get(user, UserSpace())
        assert space.environments_bytes + space.work == total


@pytest.mark.parametrize(
    ("used", "limit", "expected"),
    [
        (10**18, None, Level.FINE),
        (0, 10, Level.FINE),
        (7, 10, Level.FINE),
        (8, 10, Level.SHORT),
        (9, 10, Level.SHORT),
        (10, 10, Level.FULL),
        (11, 10, Level.FULL),
    ],
)
def test_levels(used: int, limit: int | None, expected: Level) -> None:
    assert level(used, limit) is expected


def test_limits_are_gibibytes() -> None:
    assert limit_bytes(None) is None
    assert limit_bytes(1.5) == 3 * GIB // 2
