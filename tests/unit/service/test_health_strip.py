"""The strip of a device's health: no gaps, nothing invented, no trouble too short to be seen."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from hub_ext.models import DeviceHealth, DeviceState
from hub_ext.service.health_strip import UNKNOWN, WIDTH, bars, spans, ticks

UNTIL = datetime(2026, 11, 27, 12, tzinfo=UTC)
SINCE = UNTIL - timedelta(days=7)
HEALTHY, QUARANTINED = DeviceState.HEALTHY, DeviceState.QUARANTINED


def change(hours: float, state: DeviceState, reason: str = "") -> DeviceHealth:
    """A change so many hours ago."""
    return DeviceHealth(1, UNTIL - timedelta(hours=hours), state, reason)


def test_spans_say_what_it_was_and_since_when():
    history = [change(1, HEALTHY), change(2, QUARANTINED, "Xid 79"), change(999, HEALTHY)]
    assert [(each.state, each.reason) for each in spans(history, HEALTHY, SINCE, UNTIL)] == [
        ("healthy", ""),
        ("quarantined", "Xid 79"),
        ("healthy", ""),
    ]


def test_what_was_before_the_first_change_is_unknown():
    first, second = spans([change(24, HEALTHY)], HEALTHY, SINCE, UNTIL)
    assert (first.state, second.state) == (UNKNOWN, "healthy")


def test_without_a_change_it_was_as_it_is():
    """History is deleted when it is old: who has been well for a year has none."""
    (only,) = spans([], HEALTHY, SINCE, UNTIL)
    assert (only.state, only.begin, only.end) == ("healthy", SINCE, UNTIL)


def test_changes_that_were_not_read_are_unknown():
    found = spans([change(1, HEALTHY)], HEALTHY, SINCE, UNTIL, whole=False)
    assert [each.state for each in found] == [UNKNOWN, "healthy"]


def test_a_minute_of_trouble_in_a_month_is_seen_and_lies_on_top():
    since = UNTIL - timedelta(days=30)
    history = [change(10, HEALTHY), change(10 + 1 / 60, QUARANTINED), change(9999, HEALTHY)]
    drawn = bars(spans(history, HEALTHY, since, UNTIL), since, UNTIL)
    assert drawn[-1].state == "quarantined" and drawn[-1].width >= 2


@given(
    st.lists(st.tuples(st.floats(-5, 400), st.sampled_from(list(DeviceState))), max_size=12),
    st.booleans(),
)
def test_there_is_never_a_gap_and_nothing_is_drawn_outside(changes, whole):
    """Whatever the clocks said."""
    history = [change(hours, state) for hours, state in changes]
    found = spans(history, HEALTHY, SINCE, UNTIL, whole=whole)
    assert found[0].begin == SINCE and found[-1].end == UNTIL
    for earlier, later in zip(found, found[1:], strict=False):
        assert earlier.end == later.begin
    assert all(each.begin < each.end for each in found)
    for bar in bars(found, SINCE, UNTIL):
        assert 0 <= bar.x and bar.x + bar.width <= WIDTH + 0.2


def test_ticks_are_round_times():
    assert [text for _x, text in ticks(UNTIL - timedelta(days=1), UNTIL)] == [
        "15:00", "18:00", "21:00", "00:00", "03:00", "06:00", "09:00",
    ]  # fmt: skip
    assert [text for _x, text in ticks(SINCE, UNTIL)][:2] == ["11-21", "11-22"]
    month = ticks(UNTIL - timedelta(days=30), UNTIL)
    assert 5 <= len(month) <= 9
