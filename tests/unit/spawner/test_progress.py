"""Progress: every viewer sees all of it, whenever they come."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from hub_ext.eta import Eta
from hub_ext.fair_queue import Place
from hub_ext.i18n import set_language
from hub_ext.inventory import practice_devices
from hub_ext.models import QueueEntry, Request
from hub_ext.progress import Progress, clock
from hub_ext.pulling import PullProgress

NOW = datetime(2026, 11, 24, tzinfo=UTC)


async def take(events: AsyncIterator[dict[str, object]], number: int) -> list[object]:
    async with asyncio.timeout(2):
        return [(await anext(events))["message"] for _ in range(number)]


async def nothing_more(events: AsyncIterator[dict[str, object]]) -> bool:
    waiting = asyncio.ensure_future(anext(events))
    await asyncio.sleep(0.02)
    quiet = not waiting.done()
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    return quiet


async def test_a_late_viewer_gets_it_from_the_start() -> None:
    progress = Progress()
    progress.say(1, "one")
    early = progress.follow()
    assert await take(early, 1) == ["one"]
    progress.say(2, "two")
    assert await take(early, 1) == ["two"]
    assert await take(progress.follow(), 2) == ["one", "two"]
    assert await nothing_more(early)


async def test_what_counts_up_replaces_itself() -> None:
    progress = Progress()
    progress.say(1, "start")
    early = progress.follow()
    await take(early, 1)
    progress.say(2, "3 of 3", topic="place")
    assert await take(early, 1) == ["3 of 3"]
    for message in ("2 of 3", "1 of 3"):
        progress.say(2, message, topic="place")
    assert await take(early, 1) == ["1 of 3"]  # it only sees the latest
    progress.say(3, "go")
    assert await take(early, 1) == ["go"]
    assert await take(progress.follow(), 3) == ["start", "1 of 3", "go"]


async def test_another_topic_is_kept() -> None:
    progress = Progress()
    progress.say(1, "pull 1", topic="pull")
    progress.say(1, "place 1", topic="place")
    progress.say(1, "pull 2", topic="pull")
    assert await take(progress.follow(), 3) == ["pull 1", "place 1", "pull 2"]


def place(gpus: int = 1, eta: Eta = Eta()) -> Place:  # noqa: B008 - it is frozen
    return Place(QueueEntry(Request("ada", "", gpus), 1, NOW), 2, eta)


async def test_words() -> None:
    progress = Progress()
    one, two = practice_devices(2)
    progress.tell_pull(PullProgress(1, 4, 2_500_000, 7_900_000))
    progress.say(10, "-")  # a line of the same topic would take its place
    progress.tell_pull(PullProgress(1, 4, 500_000_000, 2_000_000_000))
    progress.tell_place(place(), 5, 0)
    progress.tell_devices((), shared=False)
    progress.tell_devices((one,), shared=False)
    progress.tell_devices((replace(one, simulated=False), two), shared=False)
    progress.tell_devices((replace(one, simulated=False),), shared=True)
    assert await take(progress.follow(), 8) == [
        "Downloading the image: 2 of 8 MB, 1 of 4 parts",
        "-",
        "Downloading the image: 0.5 of 2.0 GB, 1 of 4 parts",
        "Waiting for free GPUs: you are number 2 of 5 in line. When it is your turn is not known.",
        "Starting without a GPU",
        "1 GPU is yours (simulated)",
        "2 GPUs are yours (simulated)",
        "A share of a GPU is yours; its memory is not protected from the others",
    ]


def test_another_days_time_has_its_date() -> None:
    at = datetime(2026, 11, 25, 3, 5, tzinfo=UTC)
    assert clock(at, at) == "03:05 UTC"
    assert clock(at, NOW) == "2026-11-25 03:05 UTC"


async def test_when_it_is_ones_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message has the time in UTC; a page puts its reader's time into `words`."""
    progress = Progress()
    at = datetime(2026, 11, 24, 14, 35, tzinfo=UTC)
    monkeypatch.setattr("hub_ext.progress._now", lambda: NOW)
    for basis, words in (
        ("deadline", "Your turn is by about 14:35 UTC, when a lease ends."),
        ("history", "Your turn is at about 14:35 UTC, if leases last as long as usual."),
    ):
        progress.tell_place(place(4, Eta(at, basis)), 3, 2)
        event = await anext(progress.follow())
        said = str(event["message"])
        assert said.startswith("Waiting for free GPUs: you are number 2 of 3 in line. ")
        assert words in said
        assert said.endswith("2 of 4 GPUs are set aside for you already.")
        assert str(event["words"]).replace("%(time)s", "14:35 UTC") == said
        assert (event["eta"], event["eta_basis"]) == ("2026-11-24T14:35:00+00:00", basis)
        assert (event["position"], event["length"]) == (2, 3)
    json.dumps(event)


async def test_chinese_has_no_blank_between_sentences() -> None:
    progress = Progress()
    set_language("zh_CN")
    progress.tell_place(place(1, Eta()), 5, 0)
    said = str((await anext(progress.follow()))["message"])
    assert "位。何时轮到您尚不清楚。" in said
