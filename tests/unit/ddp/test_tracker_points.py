"""The numbers of one rank in a log that comes in pieces."""

from __future__ import annotations

import json
from dataclasses import asdict

from hypothesis import given
from hypothesis import strategies as st

from server_ext.ddp import logs
from server_ext.ddp.metrics import LONGEST, SERIES, Point
from server_ext.ddp.trackers.points import PointReader

LINE = st.sampled_from(
    [
        "[default0]:step=1 loss=0.5\n",
        "[default0]:epoch=2 loss: 0.25 acc=0.5\n",
        "[default1]:loss=9\n",
        "[default0]:größe=3 ✓\n",
        '[default0]:{"loss": 0.125, "step": 4}\n',
        "[default0]:50%|#####| 5/10\r",
        "[default0]:nothing\n",
        "torchrun says loss=7\n",
        "[default0]:loss=",
        "0.75\n",
        "\xff\n",
    ]
)


def read(data: bytes, cuts: list[int], rank: int = 0, *, again: bool = False) -> list[Point]:
    """In pieces that begin where the last ended; again: by another reader each time."""
    reader, points = PointReader(rank), []
    for end in [*sorted({min(cut, len(data)) for cut in cuts}), len(data)]:
        piece = logs.whole(data[reader.offset : end], everything=end == len(data))
        points += reader.feed(piece)
        if again:
            reader = PointReader(**json.loads(json.dumps(asdict(reader))))
    return points + reader.end()


@given(st.lists(LINE, max_size=12), st.lists(st.integers(0, 400), max_size=6), st.booleans())
def test_pieces_make_no_difference(lines: list[str], cuts: list[int], again: bool) -> None:
    data = "".join(lines).encode("utf-8")
    assert read(data, cuts, again=again) == read(data, [])


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=4))
def test_any_bytes_will_do(data: bytes, cuts: list[int]) -> None:
    read(data, cuts)


def test_only_the_rank_counts_and_what_is_drawn_is_what_is_handed_on() -> None:
    data = b"[default1]:loss=1\n[default0]:rank=0 step=3 loss=0.5 acc=0.75 port=29500\nloss=2\n"
    assert read(data, []) == [Point("step", 3.0, {"loss": 0.5, "acc": 0.75})]
    assert read(data, [], rank=1) == [Point(None, None, {"loss": 1.0})]


def test_a_line_that_is_too_long_has_no_numbers_in_its_end_either() -> None:
    data = b"[default0]:" + b"x" * 2 * LONGEST + b" loss=1\n[default0]:loss=2\n"
    for cut in (LONGEST, LONGEST + 20, 2 * LONGEST):
        assert read(data, [cut, cut + 10]) == [Point(None, None, {"loss": 2.0})]
        assert read(data, [cut, cut + 10], again=True) == [Point(None, None, {"loss": 2.0})]


def test_names_are_bounded_and_counted() -> None:
    lines = [f"[default0]:loss=1 user{n}=2\n" for n in range(3 * SERIES)]
    reader = PointReader(0)
    points = reader.feed("".join(lines).encode())
    assert reader.counts["loss"] == len(points) == 3 * SERIES
    assert len({name for point in points for name in point.values}) == SERIES
    copy = reader.copy()
    reader.feed(b"[default0]:loss=1\n")
    assert copy.counts["loss"] == 3 * SERIES


def test_a_step_that_is_no_number_is_none() -> None:
    assert read(b"[default0]:step=nan epoch=2 loss=1\n", []) == [Point("epoch", 2.0, {"loss": 1.0})]


def test_a_huge_line_is_passed_over() -> None:
    data = b"[default0]:" + b"x" * 100_000 + b" loss=1\n[default0]:loss=2\n"
    assert read(data, [30_000, 60_000]) == [Point(None, None, {"loss": 2.0})]


def test_after_a_jump_reading_goes_on_at_a_line() -> None:
    reader = PointReader(0, half="los", owner=0)
    reader.skip(100)
    assert (reader.offset, reader.half, reader.owner) == (100, "", None)
