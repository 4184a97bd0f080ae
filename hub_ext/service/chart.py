"""A picture of use by day: columns of stacked parts, one part per user, group or device. Pure.

Guarantees: the largest parts have a colour each, the rest share one, and the legend names them in
the order of the stack; every value is also in the table that the page shows beside it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

COLOURS = 6
WIDTH, HEIGHT = 720, 220
LEFT, BOTTOM, TOP = 44, 26, 10  # room for the axes


@dataclass(frozen=True, slots=True)
class Part:
    """One coloured part of a column; `series` is its place in the legend."""

    series: int
    x: float
    y: float
    width: float
    height: float
    title: str


@dataclass(frozen=True, slots=True)
class Chart:
    """Everything that the template draws. `lines` are (y, hours), `days` (x, day)."""

    parts: tuple[Part, ...]
    lines: tuple[tuple[float, str], ...]
    days: tuple[tuple[float, str], ...]
    legend: tuple[str, ...]  # "" is the rest


def stacked(hours: Mapping[tuple[str, date], float], since: date, until: date) -> Chart:
    """The chart of `hours` by (name, day), for the days from `since` to `until`."""
    days = [since + timedelta(n) for n in range((until - since).days + 1)]
    totals: dict[str, float] = {}
    for (name, _day), value in hours.items():
        totals[name] = totals.get(name, 0.0) + value
    ranked = sorted(
        (name for name, value in totals.items() if value), key=lambda n: (-totals[n], n)
    )
    shown = ranked[:COLOURS]
    legend = [*shown, *([""] if len(ranked) > COLOURS else [])]
    by_series: dict[tuple[int, date], float] = {}
    for (name, day), value in hours.items():
        series = shown.index(name) if name in shown else COLOURS
        by_series[series, day] = by_series.get((series, day), 0.0) + value
    heights = [sum(by_series.get((s, day), 0.0) for s in range(COLOURS + 1)) for day in days]
    step, most = _scale(max(heights, default=0.0))
    room = HEIGHT - TOP - BOTTOM
    slot = (WIDTH - LEFT) / len(days)
    width = max(1.0, min(slot * 0.7, 60.0))
    parts: list[Part] = []
    for index, day in enumerate(days):
        x, level = LEFT + index * slot + (slot - width) / 2, 0.0
        for series, name in enumerate(legend):
            value = by_series.get((series, day), 0.0)
            if value <= 0:
                continue
            level += value
            y = TOP + room * (1 - level / most)
            title = f"{name or '…'} · {day.isoformat()} · {value:.1f} h"
            parts.append(
                Part(
                    series,
                    round(x, 1),
                    round(y, 1),
                    round(width, 1),
                    round(room * value / most, 1),
                    title,
                )
            )
    lines = tuple(
        (round(TOP + room * (1 - n * step / most), 1), f"{n * step:g}")
        for n in range(round(most / step) + 1)
    )
    return Chart(tuple(parts), lines, _labels(days, slot), tuple(legend))


def _scale(highest: float) -> tuple[float, float]:
    """The step between lines and the top of the axis: two to five lines of a round number."""
    if highest <= 0:
        return 1.0, 1.0
    magnitude = 10.0 ** math.floor(math.log10(highest))
    step = next(
        magnitude * part
        for part in (0.2, 0.25, 0.5, 1.0, 2.0, 2.5)
        if highest / (magnitude * part) <= 5
    )
    return step, step * math.ceil(highest / step - 1e-9)


def _labels(days: Sequence[date], slot: float) -> tuple[tuple[float, str], ...]:
    """The days that are named: as many as fit beside each other."""
    every = max(1, math.ceil(46 / slot))
    return tuple(
        (round(LEFT + (index + 0.5) * slot, 1), f"{day:%m-%d}")
        for index, day in enumerate(days)
        if index % every == 0
    )
