"""Progress: every viewer sees all of it, whenever they come."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime

from hub_ext.engine import PullProgress
from hub_ext.fair_queue import Place
from hub_ext.models import QueueEntry, Request
from hub_ext.progress import Progress

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


async def test_words() -> None:
    progress = Progress()
    progress.tell_pull(PullProgress(1, 4, 500_000_000, 2_000_000_000))
    progress.tell_place(Place(QueueEntry(Request("ada", "", 1), 1, NOW), 2), 5)
    progress.tell_devices(0, simulated=False)
    progress.tell_devices(1, simulated=True)
    progress.tell_devices(2, simulated=False)
    assert await take(progress.follow(), 5) == [
        "Downloading the image: 0.5 of 2.0 GB, 1 of 4 parts",
        "Waiting for free GPUs: you are number 2 of 5 in line.",
        "Starting without a GPU",
        "1 GPU is yours (simulated)",
        "2 GPUs are yours",
    ]
