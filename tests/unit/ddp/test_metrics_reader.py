"""Numbers of a log that grows: each byte is read once, and memory stays bounded."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from server_ext.ddp import metrics_reader
from server_ext.ddp.metrics_reader import KEPT, MetricsReader


def points(answer: dict[str, Any]) -> dict[str, list[float]]:
    return {one["name"]: [y for _, y in one["points"]] for one in answer["series"]}


async def test_a_log_that_grows(tmp_path: Path) -> None:
    reader, log = MetricsReader(), tmp_path / "run.log"
    assert await reader.read("a", str(log), over=False) == {"complete": False, "series": []}
    assert (await reader.read("b", str(log), over=True))["complete"] is True
    text = "[default0]:loss=1 größe=2\n[default1]:loss=9\n[default0]:loss=2\n[default0]:loss=3"
    data = text.encode()
    for end in range(1, len(data) + 1):  # also in the middle of a character and of a header
        log.write_bytes(data[:end])
        await reader.read("a", str(log), over=False)
    answer = await reader.read("a", str(log), over=True)
    assert answer["complete"] and points(answer) == {"loss": [1, 2, 3], "größe": [2]}
    assert await reader.read("a", str(log), over=True) == answer


async def test_a_large_log_is_read_in_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics_reader, "AT_ONCE", 1000)
    reader, log = MetricsReader(), tmp_path / "run.log"
    log.write_text("".join(f"[default0]:y={n}\n" for n in range(500)))
    answers = [await reader.read("a", str(log), over=True)]
    while not answers[-1]["complete"]:
        answers.append(await reader.read("a", str(log), over=True))
        assert len(answers) < 20
    assert len(answers) > 5
    assert points(answers[-1]) == {"y": list(range(500))}


async def test_two_questions_at_once_count_nothing_twice(tmp_path: Path) -> None:
    reader, log = MetricsReader(), tmp_path / "run.log"
    log.write_text("[default0]:y=1\n" * 100)
    both = await asyncio.gather(*(reader.read("a", str(log), over=False) for _ in range(5)))
    assert all(points(answer) == {"y": [1] * 100} for answer in both)


async def test_few_runs_are_kept(tmp_path: Path) -> None:
    reader, log = MetricsReader(), tmp_path / "run.log"
    log.write_text("[default0]:y=1\n")
    for number in range(3 * KEPT):
        await reader.read(str(number), str(log), over=False)
    assert len(reader._runs) == KEPT
