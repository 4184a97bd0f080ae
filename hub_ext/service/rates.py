"""How often somebody may do something. In memory: a restart forgives.

Guarantees: at most `most` in any `seconds`; nothing older is remembered.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from ..errors import TooMany
from ..i18n import _


class Rate:
    """A sliding window for each name."""

    def __init__(
        self, most: int, seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._most = most
        self._seconds = seconds
        self._clock = clock
        self._times: dict[str, deque[float]] = {}

    def count(self, name: str) -> None:
        """One more. Raises TooMany, and then it does not count."""
        since = self._clock() - self._seconds
        for other in list(self._times):
            times = self._times[other]
            while times and times[0] <= since:
                times.popleft()
            if not times:
                del self._times[other]
        mine = self._times.setdefault(name, deque())
        if len(mine) >= self._most:
            raise TooMany(_("That was often enough for now. Wait a minute and try again."))
        mine.append(self._clock())
