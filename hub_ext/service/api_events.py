"""REST: what changes, as server-sent events, or as a page of them.

Guarantees:

- `id:` is the number of the line of the audit trail; Last-Event-ID, or `after`, goes on after it,
  and nothing in between is left out that the caller may see. Where lines were deleted meanwhile the
  event `gap` says so: what is shown must be read anew, and the stream goes on from now;
- a stream shows what event_rights.py lets its caller see, who is asked for again as often as the
  service believes JupyterHub's word; it ends when they may not be here any more;
- a reader that takes nothing for a while is cut off; nothing is kept for it;
- a stream that JupyterHub or the ledger leaves without an answer ends: its client comes again.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from typing import Any

from tornado.http1connection import HTTP1Connection
from tornado.iostream import StreamClosedError

from ..errors import GpucampError, TooMany
from ..i18n import _
from ..ledger.audit import Following
from ..models import AuditEntry
from .admin_views import audit_view
from .api_base import ApiHandler, whole_number
from .auth import Forbidden, requires
from .event_rights import may_see

HIGHEST_NUMBER = 10**11
RETRY_MILLISECONDS = 3000
QUIET_SECONDS = 15.0  # then a comment shows that the connection is good
SEND_SECONDS = 20.0  # for a reader to take what it was sent
STREAMS_OF_ONE = 20
STREAM = "text/event-stream"
_UNWANTED = re.compile(r"q=0(\.0*)?")


class EventsHandler(ApiHandler):
    query = frozenset({"after"})
    _task: asyncio.Task[Any] | None = None  # of an open stream
    _gone = False

    @requires(None)
    async def get(self) -> None:
        after = self._last_seen()
        if not asks_for_stream(self.request.headers.get("Accept", "")):
            found = await self.service.events.ask(after)
            shown = [audit_view(each) for each in await self._visible(found.entries)]
            self.answer({"events": shown, "last": _end(found), "gap": found.gap})
            return
        streams, name = self.service.events.streams, f"{self.caller.kind} {self.caller.name}"
        if streams[name] >= STREAMS_OF_ONE:
            raise TooMany(
                _(
                    "{most} streams of events are open for you already. End one of them, or ask "
                    "for pages: without Accept: text/event-stream."
                ).format(most=STREAMS_OF_ONE)
            )
        streams[name] += 1
        try:
            await self._stream(await self.service.events.ask(after))
        except StreamClosedError:
            pass
        except asyncio.CancelledError:
            if not self._gone:
                raise
        finally:
            self._task = None
            streams[name] -= 1
            if not streams[name]:
                del streams[name]

    def on_connection_close(self) -> None:
        self._gone = True
        if self._task is not None:
            self._task.cancel()

    def _last_seen(self) -> int | None:
        """What the client has got already; what a browser says by itself comes first."""
        given = self.request.headers.get("Last-Event-ID")
        if given is None:
            if self.get_query_argument("after", None) is None:
                return None
            return self.whole_argument("after", 0, 0, HIGHEST_NUMBER)
        return whole_number("Last-Event-ID", given, 0, HIGHEST_NUMBER)

    async def _stream(self, found: Following) -> None:
        self.set_header("Content-Type", f"{STREAM}; charset=utf-8")
        self.set_header("X-Accel-Buffering", "no")
        self._task = asyncio.current_task()
        self.stream_begins()
        self.write(f"retry: {RETRY_MILLISECONDS}\n\n")
        told = -1  # the last id that the client has
        if not found.entries and not found.gap:
            told = found.latest
            self.write(f"id: {told}\n\n")
        feed = self.service.events
        with feed.listening():
            asked = written = time.monotonic()
            while not feed.closing:
                try:
                    shown = await self._visible(found.entries)
                except GpucampError:
                    break
                if found.gap:
                    self.write(f"event: gap\nid: {found.latest}\ndata: {{}}\n\n")
                for entry in shown:
                    self.write(_event(entry))
                place = _end(found)
                if shown or found.gap:
                    told = shown[-1].number if shown else found.latest
                    written = time.monotonic()
                await self._pass_on()
                await feed.wait(place, max(written + QUIET_SECONDS - time.monotonic(), 0))
                if time.monotonic() - written >= QUIET_SECONDS:
                    # a place without data: whoever comes again need not look at all that passed
                    self.write(f"id: {place}\n\n" if told != place else ": quiet\n\n")
                    told, written = place, time.monotonic()
                    await self._pass_on()
                if time.monotonic() - asked >= self.hub_auth.cache_max_age:
                    asked = time.monotonic()
                    if not await self._still_known():
                        break
                try:
                    found = await feed.after(place)
                except GpucampError:
                    break
                if not found.entries and not found.gap:
                    found = Following((), place, False)

    async def _pass_on(self) -> None:
        try:
            # not wait_for: it may swallow a cancellation (Python 3.11)
            async with asyncio.timeout(SEND_SECONDS):
                await self.flush()
        except TimeoutError as error:
            self._cut()
            raise StreamClosedError from error

    def _cut(self) -> None:
        connection = self.request.connection
        assert isinstance(connection, HTTP1Connection)  # noqa: S101 - the server speaks no other
        connection.close()

    async def _still_known(self) -> bool:
        # JupyterHub's helper and tornado ask once per request
        for name in ("_cached_hub_user", "_current_user"):
            self.__dict__.pop(name, None)
        try:
            return await self.identify()
        except (GpucampError, Forbidden):
            return False

    async def _visible(self, entries: tuple[AuditEntry, ...]) -> list[AuditEntry]:
        caller, groups_of = self.caller, self.service.events.groups_of
        return [each for each in entries if await may_see(caller, each, groups_of)]


def asks_for_stream(accept: str) -> bool:
    """Whether an Accept header names the stream, and not as what is unwanted (q=0)."""
    for each in accept.lower().split(","):
        media, *more = (part.strip() for part in each.split(";"))
        if media == STREAM and not any(_UNWANTED.fullmatch(part) for part in more):
            return True
    return False


def _end(found: Following) -> int:
    """Where to go on."""
    return found.entries[-1].number if found.entries else found.latest


def _event(entry: AuditEntry) -> str:
    # JSON has no line ends, so it is one line of data
    return f"id: {entry.number}\ndata: {json.dumps(audit_view(entry), ensure_ascii=False)}\n\n"


ROUTES: list[tuple[str, type[ApiHandler]]] = [(r"api/v1/events", EventsHandler)]
