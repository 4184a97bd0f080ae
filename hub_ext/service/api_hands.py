"""REST for raised hands: somebody asks for help, and is helped.

Guarantees: one hand per user; only they raise it, they and those who teach them lower it; to ask
twice does no harm, and whoever raises theirs again keeps their place. It is the user's, whichever
of their servers it is about; the addresses below a server exist because a server's own token is
good for that server only.
"""

from __future__ import annotations

import asyncio

from ..errors import NotFound
from ..hands import LONGEST_TEXT
from ..i18n import _
from ..scopes import ENVIRONMENT_READ, HAND
from .api_base import ApiHandler, text
from .auth import Forbidden, requires
from .hand_views import hand_view


class _HandHandler(ApiHandler):
    async def groups_of(self, user: str, server: str) -> tuple[str, ...]:
        """Raises NotFound for an unknown user, or a named server that was never made."""
        try:
            found = await self.service.hub.user(user)
            if server and await self.service.hub.server(user, server) is None:
                raise NotFound(f"{user} has no server {server!r}.")
        except NotFound as error:
            raise NotFound(_("There is no such server.")) from error
        return found.groups


class HandHandler(_HandHandler):
    """A user's hand."""

    @requires(ENVIRONMENT_READ)
    async def get(self, user_name: str, server_name: str = "") -> None:
        found = await asyncio.to_thread(self.service.ledger.hand, user_name)
        if found is None:
            await self.groups_of(user_name, server_name)  # NotFound for what there is not
        self.answer({"hand": hand_view(found)})

    @requires(HAND)
    async def post(self, user_name: str, server_name: str = "") -> None:
        said = self.body({}, {"text": text(LONGEST_TEXT)}).get("text", "")
        if (self.caller.kind, self.caller.name) != ("user", user_name):
            raise Forbidden(_("Only {user} may raise this hand.").format(user=user_name))
        groups = await self.groups_of(user_name, server_name)
        self.service.hand_rate.count(user_name)
        found = await asyncio.to_thread(
            self.service.ledger.raise_hand,
            user_name,
            server_name,
            said,
            groups,
            self.service.now(),
        )
        self.answer({"hand": hand_view(found)})


class LowerHandHandler(_HandHandler):
    """By the user, or by whoever has helped."""

    @requires(HAND)
    async def post(self, user_name: str, server_name: str = "") -> None:
        self.empty_body()
        was_up = await asyncio.to_thread(
            self.service.ledger.lower_hand,
            user_name,
            self.service.now(),
            actor=self.caller.name,
        )
        if not was_up:
            await self.groups_of(user_name, server_name)
        self.answer({"hand": None})


def routes(*bases: str) -> list[tuple[str, type[ApiHandler]]]:
    """The routes below these addresses, of a user and of their servers."""
    return [
        (base + path, handler)
        for base in bases
        for path, handler in ((r"/hand", HandHandler), (r"/hand/lower", LowerHandHandler))
    ]
