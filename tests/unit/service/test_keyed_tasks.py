"""One background task per key."""

from __future__ import annotations

import asyncio
import logging

import pytest

from hub_ext.service.keyed_tasks import KeyedTasks

LOG = logging.getLogger("tested")


async def test_a_key_has_one_task_and_is_free_again_afterwards() -> None:
    begun: list[str] = []
    go_on = asyncio.Event()

    async def work(key: str) -> None:
        begun.append(key)
        await go_on.wait()

    tasks = KeyedTasks("work", LOG)
    for key in ("a", "a", "b"):
        tasks.see_to(key, work)
    await asyncio.sleep(0)
    assert begun == ["a", "b"]
    go_on.set()
    await tasks.settled()
    tasks.see_to("a", work)
    await tasks.settled()
    assert begun == ["a", "b", "a"]


async def test_one_that_fails_is_logged_and_the_others_go_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    done: list[str] = []

    async def work(key: str) -> None:
        await asyncio.sleep(0)
        if key == "bad":
            raise RuntimeError("no")
        done.append(key)

    tasks = KeyedTasks("work", LOG)
    tasks.see_to("bad", work)
    tasks.see_to("good", work)
    await tasks.settled()
    assert done == ["good"]
    assert "work bad was left" in caplog.text and "RuntimeError: no" in caplog.text


async def test_after_cancel_none_runs(caplog: pytest.LogCaptureFixture) -> None:
    ended: list[str] = []

    async def work(key: str) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(key)

    tasks = KeyedTasks("work", LOG)
    tasks.see_to("a", work)
    await asyncio.sleep(0)
    await tasks.cancel()
    assert ended == ["a"]
    await tasks.settled()
    assert caplog.text == ""
