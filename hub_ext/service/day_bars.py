"""A small picture of somebody's use by day: a column for each, with its hours above it. Pure.

Guarantees: the highest column fills the picture, unless it is less than an hour; a day with any use
has a column that can be seen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

WIDTH, HEIGHT = 420, 96
TOP, BOTTOM = 18, 20  # room for the hours and the days
COLUMN = 34
LEAST = 2.0
LEAST_FULL = 3600.0  # device-seconds that fill the picture: a minute is no tower


@dataclass(frozen=True, slots=True)
class DayBar:
    """A day: `middle` is where its texts stand, `hours` what it says."""

    day: str
    hours: float
    middle: float
    x: float
    y: float
    height: float


def day_bars(seconds: Mapping[str, float]) -> tuple[DayBar, ...]:
    """The columns of days (ISO 8601, in their order) with the device-seconds of each."""
    most = max([LEAST_FULL, *seconds.values()])
    slot = WIDTH / max(len(seconds), 1)
    room = HEIGHT - TOP - BOTTOM
    bars = []
    for number, (day, used) in enumerate(seconds.items()):
        height = max(room * used / most, LEAST) if used > 0 else 0.0
        middle = slot * (number + 0.5)
        bars.append(
            DayBar(
                day,
                used / 3600,
                round(middle, 1),
                round(middle - COLUMN / 2, 1),
                round(TOP + room - height, 1),
                round(height, 1),
            )
        )
    return tuple(bars)
