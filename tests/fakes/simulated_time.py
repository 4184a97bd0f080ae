"""An event loop whose time is simulated: a test of seconds takes none, however busy the host is."""

from __future__ import annotations

import asyncio


class SimulatedTime(asyncio.SelectorEventLoop):
    """The clock goes on by what somebody sleeps, or says to have worked; nothing is waited for."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0
        select = self._selector.select  # type: ignore[attr-defined]  # of asyncio's own loop

        def skip(timeout: float | None = None) -> object:
            self._now += timeout or 0.0
            return select(0)

        self._selector.select = skip  # type: ignore[attr-defined]

    def time(self) -> float:
        return self._now

    def work(self, seconds: float) -> None:
        """Keep the loop from everything else for so long."""
        self._now += seconds
