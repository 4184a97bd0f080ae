"""REST about the place of a server in the line: move it, take that back, take the server out.

Guarantees: whoever changes something says why, and the person who waits reads it; what was done
already changes nothing. A place in the line concerns everybody, so to move one needs the scope for
all; to take somebody out concerns only them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

from ..errors import Conflict
from ..fair_queue import line_up
from ..i18n import _
from ..models import QueueEntry, Snapshot
from ..queue_moves import moved
from ..scopes import LEASES_MANAGE
from .admin_views import queue_view
from .api_base import ApiHandler, reason_text, whole
from .auth import Group, Resource, requires

LAST_PLACE = 100  # each place before it is fixed by the move

_log = logging.getLogger(__name__)


def place_at(position: int, seen: Snapshot, entry: QueueEntry) -> tuple[int, Mapping[int, int]]:
    """The place in the line that this gives, and all boosts there are then. Pure.

    Raises Conflict for an entry that nobody can serve at present: it would be passed over anyway.
    """
    line = [each.entry for each in line_up(seen) if each.can_be_served]
    if not any(each.sequence == entry.sequence for each in line):
        raise Conflict(
            _(
                "What this server asks for is away, or its group has all it may have, so it is "
                "passed over wherever it stands."
            )
        )
    return min(position, len(line)), moved(line, entry.sequence, position)


class QueueChanger(ApiHandler):
    """Base: a change, and where the server stands then."""

    def note(self, what: str, user: str, server: str) -> None:
        """In the log."""
        _log.info("%s: %s of %s/%s in the line", self.caller.name, what, user, server)

    async def answer_place(self, user: str, server: str) -> None:
        """Where the server stands now; null if it does not wait any more."""
        rows = await queue_view(self.service)
        found = [row for row in rows if (row["user"], row["server"]) == (user, server)]
        self.answer({"waiting": found[0] if found else None})


class MoveHandler(QueueChanger):
    async def resource(self, **kwargs: str) -> Resource | Group | None:
        await super().resource(**kwargs)  # NotFound for a name that no server can have
        return None

    @requires(LEASES_MANAGE)
    async def post(self, user_name: str, server_name: str = "") -> None:
        given = self.body({"reason": reason_text}, {"position": whole(1, LAST_PLACE)})
        position = given.get("position", 1)
        await asyncio.to_thread(
            self.service.ledger.move_in_queue,
            user_name,
            server_name,
            lambda seen, entry: place_at(position, seen, entry),
            given["reason"],
            self.service.now(),
            actor=self.caller.name,
        )
        self.note(f"move to place {position}", user_name, server_name)
        await self.answer_place(user_name, server_name)


class UndoMoveHandler(MoveHandler):
    @requires(LEASES_MANAGE)
    async def post(self, user_name: str, server_name: str = "") -> None:
        self.empty_body()
        await asyncio.to_thread(
            self.service.ledger.undo_move_in_queue,
            user_name,
            server_name,
            self.service.now(),
            actor=self.caller.name,
        )
        self.note("no move", user_name, server_name)
        await self.answer_place(user_name, server_name)


class CancelHandler(QueueChanger):
    @requires(LEASES_MANAGE)
    async def post(self, user_name: str, server_name: str = "") -> None:
        reason = self.body({"reason": reason_text}, {})["reason"]
        await self.service.revival.cancel(user_name, server_name, reason, self.caller.name)
        self.note("end", user_name, server_name)
        self.answer({"cancelled": {"user": user_name, "server": server_name, "reason": reason}})


_BELOW: list[tuple[str, type[ApiHandler]]] = [
    (r"/move", MoveHandler),
    (r"/undo-move", UndoMoveHandler),
    (r"/cancel", CancelHandler),
]
_OF_USER = r"api/v1/queue/(?P<user_name>[^/]+)"

ROUTES: list[tuple[str, type[ApiHandler]]] = [
    (_OF_USER + server + path, handler)
    for server in (r"/server", r"/servers/(?P<server_name>[^/]+)")
    for path, handler in _BELOW
]
