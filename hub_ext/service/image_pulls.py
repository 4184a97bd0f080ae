"""Pulls of images that somebody asked for, each to its end.

Guarantees:
- One of an image at a time; whoever asks again is told of the one under way. It goes on when who
  asked for it is gone, and ends when it is cancelled.
- That it was asked for and how it ended is in the ledger. A service that ends, or is killed, cuts
  its pulls off; the next one says so and begins none by itself: what was complete is on the Engine,
  and the next pull of the image goes on from there.
- How far it is, is in memory only.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Protocol, TypeVar

from ..errors import Conflict, EngineRefused, EngineUnavailable, LedgerUnavailable
from ..i18n import _
from ..images import ImagePull, PullState
from ..ledger import Ledger
from ..pulling import PullProgress
from . import counters
from .keyed_tasks import KeyedTasks

T = TypeVar("T")

LONGEST_ERROR = 1000

_log = logging.getLogger(__name__)


class Puller(Protocol):
    """What this module asks of the Docker Engine (engine_pull.py)."""

    async def pull(self, image: str, report: Callable[[PullProgress], None]) -> None: ...


class ImagePulls:
    """Lives in one event loop."""

    def __init__(
        self,
        ledger: Ledger,
        engine: Puller,
        *,
        retry: float = 3.0,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`retry`: seconds until a ledger that is away is asked again."""
        self._ledger = ledger
        self._engine = engine
        self._retry = retry
        self._now = now
        self._tasks = KeyedTasks("pull", _log)
        self._progress: dict[str, PullProgress] = {}  # of pulls under way, by id

    async def begin(self, image: str, reason: str, *, by: str) -> ImagePull:
        """Set out on it, or tell of the one of this image that is under way.

        Raises Conflict if too many others are, LedgerUnavailable.
        """
        # once it is written down it is begun, whoever leaves meanwhile
        return await asyncio.shield(asyncio.ensure_future(self._begin(image, reason, by)))

    async def _begin(self, image: str, reason: str, by: str) -> ImagePull:
        found = await asyncio.to_thread(
            self._ledger.begin_image_pull, image, reason, self._now(), actor=by
        )
        self._tasks.see_to(found.id, lambda pull_id: self._drive(pull_id, image))
        return found

    async def cancel(self, image: str, *, by: str) -> ImagePull:
        """Give it up. Raises Conflict if none of this image is under way, LedgerUnavailable."""
        # what is written down as cancelled is not to go on, whoever leaves meanwhile
        return await asyncio.shield(asyncio.ensure_future(self._cancel(image, by)))

    async def _cancel(self, image: str, by: str) -> ImagePull:
        found = await asyncio.to_thread(self._ledger.image_pull_of, image)
        if found is None or found.state is not PullState.RUNNING:
            raise Conflict(_("This image is not being pulled."))
        at = self._now()
        ended = await asyncio.to_thread(
            self._ledger.end_image_pull, found.id, PullState.CANCELLED, "", at, actor=by
        )
        _count(ended, at)
        await self._tasks.cancel_one(ended.id)
        if ended.state is not PullState.CANCELLED:  # it was over just before
            raise Conflict(_("This image is not being pulled."))
        return ended

    def progress(self, pull_id: str) -> PullProgress | None:
        """How far it is; None before the Engine says so, and after its end."""
        return self._progress.get(pull_id)

    async def resume(self) -> None:
        """Say of pulls that an earlier service left that they were cut off."""
        for each in await self._persist(lambda: self._ledger.cut_off_image_pulls(self._now())):
            counters.pull_ended(each)
            _log.warning("The pull of %s was cut off by the end of the service", each.image)

    async def close(self) -> None:
        """Cut off what is under way; the next service says so."""
        await self._tasks.cancel()

    async def settled(self) -> None:
        """Wait until none is under way in this process."""
        await self._tasks.settled()

    async def _drive(self, pull_id: str, image: str) -> None:
        def report(progress: PullProgress) -> None:
            self._progress[pull_id] = progress

        state, error = PullState.DONE, ""
        _log.info("pulling %s", image)
        try:
            await self._engine.pull(image, report)
        except (EngineRefused, EngineUnavailable) as failure:
            state, error = PullState.FAILED, str(failure)[:LONGEST_ERROR]
        except Exception as failure:
            _log.exception("the pull of %s broke", image)
            state, error = PullState.FAILED, type(failure).__name__
        finally:
            self._progress.pop(pull_id, None)
        _log.info("the pull of %s: %s %s", image, state, error)
        at = self._now()
        ended = await self._persist(lambda: self._ledger.end_image_pull(pull_id, state, error, at))
        _count(ended, at)

    async def _persist(self, call: Callable[[], T]) -> T:
        """Call the ledger off the event loop, again and again until it answers."""
        while True:
            try:
                return await asyncio.to_thread(call)
            except LedgerUnavailable as error:
                _log.error("waiting for the ledger: %s", error)
                await asyncio.sleep(self._retry)


def _count(ended: ImagePull, at: datetime) -> None:
    """Count it, if it is this end that the ledger keeps: another one may have come before."""
    if ended.ended_at == at:
        counters.pull_ended(ended)
