"""How often to look, and until when."""

from __future__ import annotations

import asyncio


class Pace:
    """Seconds between looks: few at first, as most is done soon, then `longest`."""

    def __init__(self, longest: float) -> None:
        self._longest = longest
        self._next = longest / 20

    def next(self) -> float:
        """The next pause."""
        pause, self._next = self._next, min(self._longest, 1.25 * self._next)
        return pause


class Deadline:
    """Of the running event loop's clock, so many seconds from now."""

    def __init__(self, seconds: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._at = self._loop.time() + seconds

    @property
    def passed(self) -> bool:
        """Whether they are over."""
        return self._loop.time() >= self._at
