"""The small lines of the last minutes."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub_ext.service.sparkline import HEIGHT, POINTS, WIDTH, path, thinned

values = st.lists(st.none() | st.floats(-50, 500, allow_nan=False), max_size=200)


@pytest.mark.parametrize(
    ("given_values", "expected"),
    [
        ([], ""),
        ([None, None], ""),
        ([0, 100], f"M0 {HEIGHT}L{WIDTH} 0"),
        ([50, 50, 50], "M0 14L60 14L120 14"),
        ([0, None, 100], "M0 28h0M120 0h0"),
        ([None, 0, 100, None], "M40 28L80 0"),
        ([1000, -5], f"M0 0L{WIDTH} {HEIGHT}"),  # never outside
    ],
)
def test_the_line(given_values: list[int | None], expected: str) -> None:
    assert path(given_values, 100) == expected


def test_a_scale_of_nothing_draws_nothing() -> None:
    assert path([1, 2], 0) == ""


@given(values)
def test_a_line_stays_inside_and_has_a_point_for_each_known_value(
    found: list[float | None],
) -> None:
    drawn = path(found, 100)
    points = [(float(x), float(y)) for x, y in re.findall(r"[ML]([0-9.]+) ([0-9.]+)", drawn)]
    assert len(points) == sum(value is not None for value in thinned(found))
    assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in points)
    assert [x for x, _y in points] == sorted(x for x, _y in points)


@given(values)
def test_thinning_keeps_peaks_and_gaps(found: list[float | None]) -> None:
    kept = thinned(found)
    assert len(kept) <= POINTS
    known = [value for value in found if value is not None]
    assert max(known, default=None) == max(
        (value for value in kept if value is not None), default=None
    )
    if len(found) <= POINTS:
        assert kept == found
