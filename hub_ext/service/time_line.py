"""Leases on a time line: a row for each device, a bar for each lease that had it. Pure.

Guarantees: bars of one device that overlap (a shared one) lie below each other; nothing is drawn
outside of the picture; a lease that has not ended goes on to now, and from there dashed to its end
as far as that is known and in the picture; a text stands only in a bar that has room for it.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from ..ledger.time_line import Tenure
from .health_strip import UNKNOWN, Span, ticks

WIDTH, LEFT = 960, 150  # of the picture, and of the names in it
TOP, ROW, BAR, AXIS = 4, 30, 22, 20  # heights: above the rows, a row, its bars, the times
NARROWEST = 1.5
LETTER = 6.4  # the width of one, about


@dataclass(frozen=True, slots=True)
class Bar:
    """A lease's time on a device; `kind` is ended, live or expected (what is to come)."""

    kind: str
    x: float
    y: float
    width: float
    height: float
    text: str
    lease: Tenure


@dataclass(frozen=True, slots=True)
class Trouble:
    """A time in which a device was not healthy, or nobody knows how it was."""

    state: str
    x: float
    y: float
    width: float


@dataclass(frozen=True, slots=True)
class Row:
    """A device."""

    uuid: str
    y: float
    bars: tuple[Bar, ...]
    troubles: tuple[Trouble, ...]


@dataclass(frozen=True, slots=True)
class TimeLine:
    """All that the template draws. `ticks` are (x, text); `now` is its place, None: not in it."""

    rows: tuple[Row, ...]
    ticks: tuple[tuple[float, str], ...]
    now: float | None
    height: float


def time_line(
    uuids: Sequence[str],
    tenures: Sequence[Tenure],
    health: Mapping[str, Sequence[Span]],
    since: datetime,
    until: datetime,
    now: datetime,
) -> TimeLine:
    """The picture of these devices between two times; times are in UTC."""
    scale = _Scale(since, until)
    by_device: dict[str, list[Tenure]] = {uuid: [] for uuid in uuids}
    for tenure in tenures:
        if tenure.device_uuid in by_device:
            by_device[tenure.device_uuid].append(tenure)
    rows = []
    for number, uuid in enumerate(uuids):
        y = TOP + number * ROW
        troubles = tuple(
            Trouble(span.state, *scale.place(span.begin, span.end, y + BAR + 1))
            for span in health.get(uuid, ())
            if span.state not in ("healthy", UNKNOWN) and span.begin < until and span.end > since
        )
        rows.append(Row(uuid, y, _bars(by_device[uuid], scale, y, now), troubles))
    place = scale.x(now) if since <= now <= until else None
    return TimeLine(
        tuple(rows),
        ticks(since, until, LEFT, WIDTH, most=12),
        place,
        TOP + len(uuids) * ROW + AXIS,
    )


class _Scale:
    def __init__(self, since: datetime, until: datetime) -> None:
        self.since, self.until = since, until

    def x(self, at: datetime) -> float:
        part = (min(max(at, self.since), self.until) - self.since) / (self.until - self.since)
        return round(LEFT + (WIDTH - LEFT) * part, 1)

    def place(self, begin: datetime, end: datetime, y: float) -> tuple[float, float, float]:
        """(x, y, width), so wide that it is seen."""
        x = self.x(begin)
        width = max(round(self.x(end) - x, 1), NARROWEST)
        return min(x, WIDTH - width), y, width


def _bars(tenures: Sequence[Tenure], scale: _Scale, y: float, now: datetime) -> tuple[Bar, ...]:
    """Side by side in as few lanes as there are leases at a time."""
    ordered = sorted(tenures, key=lambda each: (each.begin, each.lease_id))
    lanes: list[datetime] = []  # when each is free again
    placed: list[tuple[Tenure, int, datetime, datetime | None]] = []
    for tenure in ordered:
        drawn_to = tenure.end or max(now, tenure.begin)
        expected = tenure.expires_at if tenure.end is None else None
        free_at = max(drawn_to, expected) if expected is not None else drawn_to
        lane = next((n for n, free in enumerate(lanes) if free <= tenure.begin), len(lanes))
        lanes[lane : lane + 1] = [free_at]
        placed.append((tenure, lane, drawn_to, expected))
    height = round(BAR / max(len(lanes), 1), 1)
    bars: list[Bar] = []
    for tenure, lane, drawn_to, expected in placed:
        at = round(y + lane * height, 1)
        if tenure.begin < scale.until and drawn_to > scale.since:
            x, _y, width = scale.place(tenure.begin, drawn_to, at)
            text = _fitting(tenure.user, width) if height >= 11 else ""
            kind = "ended" if tenure.end is not None else "live"
            bars.append(Bar(kind, x, at, width, height, text, tenure))
        if expected is not None and scale.since < expected and drawn_to < scale.until:
            x, _y, width = scale.place(max(drawn_to, scale.since), expected, at)
            if expected > drawn_to:
                bars.append(Bar("expected", x, at, width, height, "", tenure))
    return tuple(bars)


def _fitting(text: str, width: float) -> str:
    """As much of a name as fits, or nothing if that says nothing."""
    room = (width - 8) / LETTER
    kept = ""
    for letter in text:
        room -= 2 if unicodedata.east_asian_width(letter) in "WF" else 1
        if room < 0:
            return kept[:-1] + "…" if len(kept) > 3 else ""
        kept += letter
    return kept
