"""Tasks that go on when whoever waits for them is cancelled."""

from __future__ import annotations

import asyncio
from typing import Any


def seen(task: asyncio.Task[Any]) -> None:
    """A done callback: the task's error is no news for the log, also if nobody waits any more."""
    if not task.cancelled():
        task.exception()
