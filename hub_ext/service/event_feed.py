"""What changed, for all who listen: one reader of the ledger's audit trail, however many they are.

Guarantees:

- an event is a line of the audit trail, its id the line's number; who goes on after the last id
  that they got misses none, over restarts of the service as well (ledger/audit.py says why);
- the ledger is asked once per `poll` for all listeners together, and not at all without any; only
  who lags behind what is kept in memory, or has just come, costs a question of their own;
- a listener has a place in the trail and nothing else: nothing is kept for one who is slow.
"""

from __future__ import annotations

import asyncio
import logging
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from operator import attrgetter

from ..errors import LedgerUnavailable
from ..ledger import Ledger
from ..ledger.audit import Following
from ..models import AuditEntry
from .event_rights import GroupsOf
from .hub_api import HubClient

AT_ONCE = 200  # lines in an answer
KEPT = 2000  # lines in memory
QUESTIONS = 2  # to the ledger at once, of those who lag behind or have just come

_log = logging.getLogger(__name__)


class EventFeed:
    """Belongs to one event loop; `close` wakes all who wait."""

    def __init__(self, ledger: Ledger, hub: HubClient, *, poll: float = 1.0) -> None:
        self.groups_of = GroupsOf(hub)
        self.streams: Counter[str] = Counter()  # open ones, by caller
        self._ledger = ledger
        self._poll = poll
        self._entries: list[AuditEntry] = []  # all lines after `_floor`, up to `_latest`
        self._floor = self._latest = 0
        self._listeners = 0
        self._reader: asyncio.Task[None] | None = None
        self._news = asyncio.Event()
        self._questions = asyncio.Semaphore(QUESTIONS)
        self.closing = False

    @contextmanager
    def listening(self) -> Iterator[None]:
        """While this lasts, the ledger is looked at for news."""
        self._listeners += 1
        if self._reader is None or self._reader.done():
            self._reader = asyncio.create_task(self._read())
        try:
            yield
        finally:
            self._listeners -= 1

    @property
    def latest(self) -> str:
        """A number from which on a page that is made now has to listen; "" if nobody listens."""
        return str(self._latest) if self._listeners and self._latest else ""

    async def ask(self, after: int | None) -> Following:
        """From the ledger itself. Raises LedgerUnavailable."""
        async with self._questions:
            return await asyncio.to_thread(self._ledger.audit_after, after, AT_ONCE)

    async def after(self, number: int) -> Following:
        """The next lines after this one, from memory where it reaches. Raises LedgerUnavailable."""
        if not self._floor <= number <= self._latest:
            return await self.ask(number)
        first = bisect_right(self._entries, number, key=attrgetter("number"))
        return Following(tuple(self._entries[first : first + AT_ONCE]), self._latest, False)

    async def wait(self, number: int, seconds: float) -> None:
        """Until there is something after this line, the feed is closed, or the time is over."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not self.closing and self._latest <= number:
                    await self._news.wait()

    async def close(self) -> None:
        """All who listen are to end."""
        self.closing = True
        self._wake()
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)

    def _wake(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    async def _read(self) -> None:
        # what happened while nobody listened is not kept: who wants it asks the ledger
        known = False
        trouble = ""
        while self._listeners and not self.closing:
            found = None
            try:
                found = await asyncio.to_thread(
                    self._ledger.audit_after, self._latest if known else None, AT_ONCE
                )
            except LedgerUnavailable as error:
                if str(error) != trouble:
                    _log.warning("Events wait for the ledger. %s", error)
                trouble = str(error)
            except Exception:  # listeners wait for what comes after: the reader goes on
                _log.exception("reading the audit trail failed")
            if found is not None:
                trouble = ""
                if found.gap or not known:
                    known = True
                    self._entries, self._floor = [], found.latest
                    self._latest = found.latest
                    self._wake()
                elif found.entries:
                    self._keep(found.entries)
                    self._wake()
                    if len(found.entries) == AT_ONCE:
                        continue
            await asyncio.sleep(self._poll)

    def _keep(self, entries: tuple[AuditEntry, ...]) -> None:
        self._entries.extend(entries)
        self._latest = entries[-1].number
        if len(self._entries) > KEPT:
            self._floor = self._entries[-KEPT - 1].number
            self._entries = self._entries[-KEPT:]
