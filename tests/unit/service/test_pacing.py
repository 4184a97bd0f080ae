"""Looks are close together at first and never further apart than they may be."""

from __future__ import annotations

from hub_ext.service.pacing import Pace


def test_a_pause_grows_to_the_longest() -> None:
    pace = Pace(0.5)
    pauses = [pace.next() for _ in range(20)]
    assert pauses[0] == 0.025
    assert pauses == sorted(pauses)
    assert pauses[-1] == 0.5


def test_what_happens_is_noticed_soon_for_how_long_it_took() -> None:
    pace, waited = Pace(0.5), 0.0
    for _ in range(20):
        pause = pace.next()
        assert pause <= 0.026 + waited / 4
        waited += pause
