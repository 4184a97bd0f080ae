"""The facts of a failed run's log: whose lines, which exit codes, which exception ended whom."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server_ext.ddp.failure_log import (
    EVIDENCE_CHARACTERS,
    EVIDENCE_LINES,
    LINES,
    excerpt,
    read_log,
)

TRACEBACK = (
    "[default1]:[rank1]: Traceback (most recent call last):\n"
    '[default1]:[rank1]:   File "train.py", line 9, in <module>\n'
    "[default1]:[rank1]: ValueError: no labels\n"
)
# more than an exception's message may have
GOING_ON = "[default1]:going on\n" * 50


def report(*ends: tuple[int, int]) -> str:
    """As torchrun lists failures, the root cause last."""
    return "torch.distributed.elastic.multiprocessing.errors.ChildFailedError: \n" + "".join(
        f"  rank      : {rank} (local_rank: {rank})\n  exitcode  : {code} (pid: 7)\n"
        for rank, code in ends
    )


def test_what_each_wrote_and_how_it_ended() -> None:
    said = read_log("[default0]:step 1\n" + TRACEBACK + report((1, 1), (0, -15)), 1)
    assert said.exit_codes == {1: 1, 0: -15} and list(said.exit_codes) == [1, 0]
    assert said.output(0).last_words == said.output(0).end == "step 1"
    assert [one.headline for one in said.output(1).raised] == ["ValueError: no labels"]
    assert (said.output(0).exit_code, said.output(1).exit_code) == (-15, 1)
    assert said.output(None).exit_code == 1
    assert not said.output(7).lines and said.output(7).end == ""


@pytest.mark.parametrize(
    ("ends", "after", "survived"),
    [
        ([(1, 1)], GOING_ON, False),  # 1 is Python's own after an exception
        ([(1, 3)], "", True),
        ([(0, 1)], "", True),  # torchrun did not see it fail
        ([(1, -9)], "", False),
        ([(1, -9)], GOING_ON, True),
        ([], "", False),
    ],
)
def test_who_survived_an_exception(ends: list[tuple[int, int]], after: str, survived: bool) -> None:
    printed = TRACEBACK.replace("[rank1]: ", "")  # torch marks what ends a rank
    said = read_log(printed + after + report(*ends), 1)
    assert said.output(1).survived is survived


def test_torchruns_own_report_is_no_exception_of_a_rank() -> None:
    head = 'Traceback (most recent call last):\n  File "torchrun", line 5\n'
    asked = read_log(head + "torch.x.api.SignalException: Process 7 got signal: 15\n", 1)
    assert asked.asked_to_end and not asked.output(None).raised
    failed = read_log(head + report((0, 1)), 1)
    assert not failed.asked_to_end and not failed.output(None).raised
    broken = read_log(head + "ImportError: a torch that someone shadowed\n", 1)
    assert not broken.asked_to_end and broken.output(None).raised


def test_much_output_is_kept_by_its_end() -> None:
    lines = [f"line {number}" for number in range(LINES + 500)]
    said = read_log("".join(f"[default0]:{line}\n" for line in lines), 1)
    assert [line.text for line in said.output(0).lines] == lines[-LINES:]


@given(st.lists(st.text()))
def test_an_excerpt_is_short(texts: list[str]) -> None:
    found = excerpt(texts * 50)
    assert len(found) <= EVIDENCE_CHARACTERS
    assert len(excerpt(text.replace("\n", "") for text in texts).split("\n")) <= EVIDENCE_LINES


@given(st.text(), st.none() | st.integers(-64, 255))
def test_any_log_is_read(log: str, exit_code: int | None) -> None:
    read_log(log, exit_code)


def test_the_end_is_torchruns_own_or_else_the_ranks() -> None:
    ranks = "[default1]:step 1\n[default0]:step 2\n"
    assert read_log(ranks, -9).end == "step 1\nstep 2"
    assert read_log(ranks + "W1127 Sending process 7 closing signal\n", -9).end.startswith("W1127")
    assert read_log("", None).end == ""
