"""Rounds of work that repeat for as long as the service runs.

Guarantees: an error in one round is logged and never ends the loop; a round is never joined by a
second one of its kind.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from ..errors import GpucampError

_log = logging.getLogger(__name__)


async def every(seconds: float, round_: Callable[[], Awaitable[None]]) -> None:
    """Run `round_`, then wait for `seconds`, without end."""
    while True:
        try:
            await round_()
        except GpucampError as error:
            _log.warning("%s", error)
        except Exception:  # a bug in one round must not end the loop
            _log.exception("a round of %s failed", getattr(round_, "__qualname__", round_))
        await asyncio.sleep(seconds)
