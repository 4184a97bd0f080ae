"""REST for messages: whoever teaches writes to a user, or to everyone in a group.

Guarantees: a message is text and never anything else; its user reads who wrote it and when, in
JupyterLab and on the page, on every server that they have now, or else when they come; the trail
says that it was sent, not what it said. Everyone in a group is told, or nobody is: whoever repeats
a request that failed tells nobody twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from ..errors import NotFound
from ..i18n import _
from ..models import NoticeKind
from ..scopes import ENVIRONMENT_MESSAGE
from .api_base import ApiHandler, line
from .auth import Group, Resource, requires
from .group_views import find_group

LONGEST_MESSAGE = 500


class MessageHandler(ApiHandler):
    """Base of both."""

    def message(self) -> str:
        """What is said. Raises BadRequest."""
        said: str = self.body({"text": line(LONGEST_MESSAGE)}, {})["text"]
        return said

    async def tell(self, users: Sequence[str], said: str) -> None:
        """All of them, or none. Raises LedgerUnavailable."""
        ledger, now = self.service.ledger, self.service.now()
        leases = await asyncio.to_thread(ledger.leases)
        servers: dict[str, list[str]] = {user: [] for user in users}
        for lease in leases:
            if lease.user in servers:
                servers[lease.user].append(lease.server)
        places = [(user, server) for user in users for server in servers[user] or [""]]
        detail = {"by": self.caller.name, "text": said}
        await asyncio.to_thread(
            ledger.notify_all, places, NoticeKind.MESSAGE, detail, now, actor=self.caller.name
        )


class UserMessageHandler(MessageHandler):
    async def resource(self, **kwargs: str) -> Resource:
        return Resource(kwargs["user_name"], "")

    @requires(ENVIRONMENT_MESSAGE)
    async def post(self, user_name: str) -> None:
        said = self.message()
        try:
            await self.service.hub.user(user_name)
        except NotFound as error:
            raise NotFound(_("There is no such user.")) from error
        await self.tell([user_name], said)
        self.answer({"told": [user_name]})


class GroupMessageHandler(MessageHandler):
    async def resource(self, **kwargs: str) -> Group:
        return Group(kwargs["group_name"])

    @requires(ENVIRONMENT_MESSAGE)
    async def post(self, group_name: str) -> None:
        said = self.message()
        users = sorted((await find_group(self.service, group_name)).users)
        await self.tell(users, said)
        self.answer({"told": users})


ROUTES: list[tuple[str, type[ApiHandler]]] = [
    (r"api/v1/users/(?P<user_name>[^/]+)/messages", UserMessageHandler),
    (r"api/v1/groups/(?P<group_name>[^/]+)/messages", GroupMessageHandler),
]
