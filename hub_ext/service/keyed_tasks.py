"""One background task per key, in one event loop.

Guarantees: a key has at most one task; one that ended with an exception is logged, and its key is
free again; after `cancel` none runs.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine


class KeyedTasks:
    """Tasks by the id of what they work on. what: its name in the log, such as "reset"."""

    def __init__(self, what: str, log: logging.Logger) -> None:
        self._what = what
        self._log = log
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def __len__(self) -> int:
        """How many are under way."""
        return len(self._tasks)

    def see_to(self, key: str, work: Callable[[str], Coroutine[None, None, None]]) -> bool:
        """Begin `work(key)` unless it is under way; whether it begins now."""
        if key in self._tasks:
            return False
        task = asyncio.create_task(work(key), name=f"{self._what} {key}")
        self._tasks[key] = task
        task.add_done_callback(lambda done: self._finished(key, done))
        return True

    async def cancel(self) -> None:
        """End them all, and wait for that."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def cancel_one(self, key: str) -> None:
        """End this one, if it is under way, and wait for that."""
        task = self._tasks.get(key)
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def settled(self) -> None:
        """Wait until none is under way."""
        while self._tasks:
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def _finished(self, key: str, task: asyncio.Task[None]) -> None:
        self._tasks.pop(key, None)
        if not task.cancelled() and task.exception() is not None:
            self._log.error("%s %s was left", self._what, key, exc_info=task.exception())
