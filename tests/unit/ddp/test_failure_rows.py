"""Each of the 28 known ways to fail is diagnosed, remarked on, or advised against.

failure_rows.toml says which, and how that is proved.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from server_ext.ddp.diagnosis import diagnose
from server_ext.ddp.preflight import examine
from server_ext.ddp.remarks import MESSAGES, remarks

HERE = Path(__file__).parent
ROWS: dict[str, dict[str, Any]] = tomllib.loads((HERE / "failure_rows.toml").read_text("utf-8"))
NEEDS: dict[str, dict[str, Any]] = tomllib.loads((HERE / "failure_needs.toml").read_text("utf-8"))


def rows(kind: str, proof: str) -> list[Any]:
    return [
        pytest.param(row, id=f"{number}-{row['code']}")
        for number, row in ROWS.items()
        if (row["kind"], row["proof"]) == (kind, proof)
    ]


def test_all_rows_are_there_and_proved_in_one_way() -> None:
    assert list(ROWS) == [str(number) for number in range(1, 29)]
    assert {(row["kind"], row["proof"]) for row in ROWS.values()} == {
        ("diagnosis", "ran"),
        ("diagnosis", "card"),
        ("diagnosis", "stand-in"),
        ("remark", "engine"),
        ("remark", "stand-in"),
        ("advice", "source"),
    }


@pytest.mark.parametrize("row", rows("diagnosis", "ran") + rows("diagnosis", "card"))
def test_provoked_and_diagnosed(row: dict[str, Any]) -> None:
    assert (HERE / "failures" / f"{row['code']}.py").exists()
    assert NEEDS.get(row["code"], {}).get("card", False) == (row["proof"] == "card")
    head, _, log = (HERE / "recorded" / f"{row['code']}.log").read_text("utf-8").partition("\n")
    found = diagnose(log, int(head.removeprefix("exit code ")))
    assert found is not None and found.code == row["code"]


@pytest.mark.parametrize("row", rows("diagnosis", "stand-in"))
@pytest.mark.parametrize("rank", [0, 1])
def test_the_librarys_words_are_diagnosed(row: dict[str, Any], rank: int) -> None:
    """In place of the error in a log that is real but for its text."""
    log = (HERE / "recorded" / "exception.log").read_text("utf-8")
    error = "ValueError: batch 7 is bad: naïve ✓"
    assert error in log
    log = log.replace(error, row["text"])
    if rank == 0:
        log = _swapped(log)
    found = diagnose(log, 1)
    assert found is not None and (found.code, found.rank) == (row["code"], rank)


def _swapped(log: str) -> str:
    """The same run, had the ranks been the other way round."""
    for form in ("[default{}]:", "[rank{}]:", "rank      : {} (local_rank: {})"):
        zero, one = form.replace("{}", "0"), form.replace("{}", "1")
        log = log.replace(zero, "\0").replace(one, zero).replace("\0", one)
    return log


@pytest.mark.parametrize("row", rows("remark", "engine") + rows("remark", "stand-in"))
def test_a_run_that_succeeded_hears_it(row: dict[str, Any]) -> None:
    log = f"[default1]:epoch 1\n[default0]:{row['text']}\n[default0]:done\n"
    assert remarks(log) == (row["code"],)
    assert MESSAGES[row["code"]]
    assert diagnose(log, 0) is None
    assert remarks(f"[default0]:what to do about '{row['text'][-60:]}'") == ()


@pytest.mark.parametrize("row", rows("advice", "source"))
def test_advised_against_before_the_start(row: dict[str, Any]) -> None:
    assert row["code"] in {one.code for one in examine(row["source"].encode()).advice}


def test_what_ddp_itself_warns_of() -> None:
    """As recorded from healthy/looks-for-unused.py."""
    line = (
        "[default1]:[rank1]:[W1126 22:37:32.058671103 reducer.cpp:1431] Warning: "
        "find_unused_parameters=True was specified in DDP constructor, but did not find any unused "
        "parameters in the forward pass. This flag results in an extra traversal\n"
    )
    assert remarks(line * 2) == ("unused-search",)
    assert remarks("") == ()
