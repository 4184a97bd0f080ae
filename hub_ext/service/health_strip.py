"""A device's health over time: a strip of spans, and its picture. Pure.

Guarantees: the spans follow each other without a gap from `since` to `until`; what nobody noted is
"unknown", never healthy; in the picture no trouble is too short to be seen, and every span is in
the table beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from ..models import DeviceHealth, DeviceState

WIDTH, HEIGHT, BAR = 720, 46, 24
SEEN = 2.0  # the least width of a trouble
UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Span:
    """From `begin` to `end` it was in a state (a DeviceState's value, or UNKNOWN)."""

    state: str
    begin: datetime
    end: datetime
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Bar:
    """A span of the picture."""

    state: str
    x: float
    width: float


def spans(
    history: Sequence[DeviceHealth],
    state: DeviceState,
    since: datetime,
    until: datetime,
    *,
    whole: bool = True,
) -> tuple[Span, ...]:
    """The spans between two times, the earliest first.

    `history` are the latest changes, the latest first; `whole`: there are no others. `state` is
    what the device is in now: without any change noted it was so as long as history is kept.
    """
    if not history and whole:
        return (Span(state.value, since, until),)
    found: list[Span] = []
    end = until
    for change in history:
        if end <= since:
            break
        begin = min(max(change.at, since), end)  # a clock may have been set back
        if begin < end:
            found.append(Span(change.state.value, begin, end, change.reason))
        end = begin
    if end > since:
        found.append(Span(UNKNOWN, since, end))
    return tuple(reversed(found))


def bars(found: Sequence[Span], since: datetime, until: datetime) -> tuple[Bar, ...]:
    """The picture of the spans: what is well first, so that a short trouble lies above it."""
    whole = (until - since).total_seconds()
    drawn = []
    for span in found:
        x = WIDTH * (span.begin - since).total_seconds() / whole
        width = WIDTH * (span.end - span.begin).total_seconds() / whole
        if span.state not in (DeviceState.HEALTHY.value, UNKNOWN):
            width = max(width, SEEN)
            x = min(x, WIDTH - width)
        drawn.append(Bar(span.state, round(x, 1), round(width, 1)))
    return tuple(sorted(drawn, key=lambda bar: bar.state != DeviceState.HEALTHY.value))


def ticks(
    since: datetime, until: datetime, left: float = 0.0, right: float = WIDTH, most: int = 8
) -> tuple[tuple[float, str], ...]:
    """(x, text) of round times in UTC between two edges: hours of a day or two, else days."""
    length = until - since
    steps = [timedelta(hours=hours) for hours in (1, 2, 3, 6, 12, 24, 48, 96, 168, 336)]
    step = next((each for each in steps if length / each <= most), steps[-1])
    form = "%H:%M" if step < timedelta(days=1) else "%m-%d"
    midnight = since.replace(hour=0, minute=0, second=0, microsecond=0)
    at = midnight + step * -(-(since - midnight) // step)
    found = []
    while at <= until:
        x = left + (right - left) * ((at - since) / length)
        # a text in the middle of its tick must not be cut off at an edge
        if left + 18 <= x <= right - 18:
            found.append((round(x, 1), f"{at:{form}}"))
        at += step
    return tuple(found)
