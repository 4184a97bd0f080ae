"""Starts that waited for a GPU when the hub ended: they are begun again, in order.

The hub forgets who waits when it ends; the ledger does not. An entry of the queue whose `waiter` is
not the present run of the hub is an orphan: nobody would take what it is granted.

Guarantees:
- Each orphan is started again with the options it had, and keeps its place in the line. One whose
  user started the server again by hand is left alone, and so is one that left the line.
- A hub that does not answer, or not yet, is asked again in the next round; a hub that says no ends
  the wait, and the user is told why.
- Killed between any two steps, the next service goes on: what the hub has begun is seen there, what
  it has not is begun.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Protocol

from ..errors import Conflict, HubRefused, HubUnavailable, NotFound
from ..i18n import N_
from ..ledger import Ledger
from ..models import Key, NoticeKind, QueueEntry
from .hub_api import HubServer
from .notices import notify_once

AT_ONCE = 32  # a start that waits again is answered after 10 s, so many are asked for together

_log = logging.getLogger(__name__)


class Hub(Protocol):
    """What this module asks of JupyterHub (service/hub_api.py)."""

    async def server(self, user: str, server: str) -> HubServer | None: ...
    async def stop(self, user: str, server: str) -> None: ...
    async def start(self, user: str, server: str, user_options: Mapping[str, object]) -> None: ...


class Revival:
    """Looks for orphans, and takes servers out of the line."""

    def __init__(
        self, ledger: Ledger, hub: Hub, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._ledger = ledger
        self._hub = hub
        self._now = now
        self._few = asyncio.Semaphore(AT_ONCE)
        self._turn = asyncio.Lock()  # first come, first served: starts are asked for in order
        self._starting: dict[Key, asyncio.Task[None]] = {}

    async def round(self) -> None:
        """Start every orphan. Raises LedgerUnavailable."""
        for entry in await self._orphans():
            key = _key(entry)
            if key not in self._starting:
                task = asyncio.create_task(self._revive(entry), name=f"revive {key}")
                self._starting[key] = task
        tasks = list(self._starting.values())
        if not tasks:
            return
        done, _pending = await asyncio.wait(tasks)
        self._starting.clear()
        for task in done:
            if not task.cancelled() and (error := task.exception()) is not None:
                _log.warning("%s: %s", task.get_name(), error)

    async def close(self) -> None:
        """Stop working; what is not begun is for the next service."""
        tasks = list(self._starting.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def leave(self, user: str, server: str) -> None:
        """Take a server out of the line, and end a start that waits in it.

        Raises Conflict if it does not wait (any more), HubUnavailable, HubRefused, NotFound,
        LedgerUnavailable.
        """
        snapshot = await asyncio.to_thread(self._ledger.snapshot, self._now())
        waits = any(_key(entry) == (user, server) for entry in snapshot.queue)
        found = await self._hub.server(user, server)
        if found is None and server and not waits:
            raise NotFound(f"{user} has no server {server!r}.")
        leased = any((lease.user, lease.server) == (user, server) for lease in snapshot.leases)
        if leased or not (waits or _is_starting(found)):
            raise Conflict(N_("The server does not wait in line any more."))
        if not _is_starting(found):
            await asyncio.to_thread(self._ledger.withdraw, user, server)
            beginning = self._starting.get((user, server))
            if beginning is not None:  # this service was just starting it again
                await asyncio.wait({beginning})
                found = await self._hub.server(user, server)
        if _is_starting(found):
            await self._hub.stop(user, server)
            # the spawner does it, too, when it has cleaned up; the line should move now
            await asyncio.to_thread(self._ledger.withdraw, user, server)

    async def cancel(self, user: str, server: str, reason: str, actor: str) -> None:
        """Take a server out of the line for somebody else, and tell its user why.

        The hub sees that its place is gone, and ends the start. Raises NotFound if it does not
        wait, LedgerUnavailable.
        """
        await self._cancel(user, server, reason, actor)
        beginning = self._starting.get((user, server))
        if beginning is not None:  # this service was just starting it again
            await asyncio.wait({beginning})
            with suppress(NotFound):
                await self._cancel(user, server, reason, actor)

    async def _cancel(self, user: str, server: str, reason: str, actor: str) -> None:
        await asyncio.to_thread(
            self._ledger.cancel_waiting, user, server, reason, self._now(), actor=actor
        )

    async def _orphans(self) -> list[QueueEntry]:
        snapshot = await asyncio.to_thread(self._ledger.snapshot, self._now())
        # without a run no hub has ever claimed this ledger: nobody could start anything
        return [each for each in snapshot.queue if snapshot.run and each.waiter != snapshot.run]

    async def _revive(self, entry: QueueEntry) -> None:
        user, server = _key(entry)
        async with self._few:
            try:
                async with self._turn:
                    if not await self._still_wanted(entry):
                        return
                _log.info(
                    "starting %s/%s again: the hub was restarted while it waited", *(_key(entry))
                )
                await self._hub.start(user, server, entry.user_options)
            except HubUnavailable as error:
                _log.info("%s/%s is started again later: %s", user, server, error)
            except NotFound as error:
                await self._give_up(entry, str(error))
            except HubRefused as error:
                # its user may have been faster
                found = await self._hub.server(user, server)
                if found is None or found.stopped:
                    await self._give_up(entry, str(error))

    async def _still_wanted(self, entry: QueueEntry) -> bool:
        user, server = _key(entry)
        found = await self._hub.server(user, server)
        if found is not None and not found.stopped:
            if found.ready:  # it runs already, so nothing waits
                await asyncio.to_thread(self._ledger.withdraw, user, server)
            return False
        return any(_key(each) == (user, server) for each in await self._orphans())

    async def _give_up(self, entry: QueueEntry, reason: str) -> None:
        user, server = _key(entry)
        _log.warning("%s/%s is not started again: %s", user, server, reason)
        await asyncio.to_thread(
            notify_once,
            self._ledger,
            user,
            server,
            NoticeKind.START_LOST,
            str(entry.sequence),
            {"reason": reason},
            self._now(),
        )
        await asyncio.to_thread(self._ledger.withdraw, user, server)


def _key(entry: QueueEntry) -> Key:
    return entry.request.user, entry.request.server


def _is_starting(found: HubServer | None) -> bool:
    return found is not None and found.pending == "spawn"
