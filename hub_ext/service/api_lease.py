"""REST for the user of a server: more time, "I am using it", notices, leaving the line.

Guarantees: each answers with the whole view of the server after the change; a refusal is 409 and
says why; to ask twice does no harm.
"""

from __future__ import annotations

import asyncio
import logging

from ..errors import Conflict, NotFound
from ..i18n import _
from ..models import Lease
from ..scopes import LEASE_EXTEND
from .api_base import ApiHandler, whole
from .auth import requires
from .extension import extension_of
from .lease_views import lease_facts
from .views import server_view

MAX_ID = 2**63 - 1

_log = logging.getLogger(__name__)


class LeaseHandler(ApiHandler):
    """Base: the server's lease, and the answer."""

    async def lease(self, user: str, server: str) -> Lease:
        """Raises Conflict if the server has none."""
        lease = await asyncio.to_thread(self.service.ledger.lease_of, user, server)
        if lease is None:
            await server_view(self.service, user, server)  # NotFound for a server that never was
            raise Conflict(_("The server has no lease: it does not run."))
        return lease

    async def answer_server(self, user: str, server: str) -> None:
        """What the server is now."""
        self.answer(await server_view(self.service, user, server))


class ExtendHandler(LeaseHandler):
    @requires(LEASE_EXTEND)
    async def post(self, user_name: str, server_name: str = "") -> None:
        self.empty_body()
        lease = await self.lease(user_name, server_name)
        facts = await lease_facts(self.service, user_name, server_name)
        if facts.lease is None or facts.lease.id != lease.id:
            raise Conflict(_("The lease has ended."))
        extension = extension_of(facts.lease, facts.snapshot, facts.use)
        if extension.until is None:
            raise Conflict(extension.refusal)
        try:
            await asyncio.to_thread(
                self.service.ledger.extend,
                lease.id,
                extension.until,
                self.service.now(),
                by_user=True,
                actor=self.caller.name,
            )
        except NotFound as error:
            raise Conflict(_("The lease has ended.")) from error
        _log.info("%s extended lease %s to %s", self.caller.name, lease.id, extension.until)
        await self.answer_server(user_name, server_name)


class KeepHandler(LeaseHandler):
    @requires(LEASE_EXTEND)
    async def post(self, user_name: str, server_name: str = "") -> None:
        self.empty_body()
        lease = await self.lease(user_name, server_name)
        now = self.service.now()
        try:
            await asyncio.to_thread(
                self.service.ledger.mark_idle, lease.id, now, None, now, actor=self.caller.name
            )
        except NotFound as error:
            raise Conflict(_("The lease has ended.")) from error
        await self.answer_server(user_name, server_name)


class ReadNoticesHandler(LeaseHandler):
    @requires(LEASE_EXTEND)
    async def post(self, user_name: str, server_name: str = "") -> None:
        up_to = self.body({"up_to": whole(0, MAX_ID)}, {})["up_to"]
        now = self.service.now()
        await asyncio.to_thread(
            self.service.ledger.read_notices,
            user_name,
            server_name,
            up_to,
            now,
            actor=self.caller.name,
        )
        await self.answer_server(user_name, server_name)


class LeaveQueueHandler(LeaseHandler):
    @requires(LEASE_EXTEND)
    async def post(self, user_name: str, server_name: str = "") -> None:
        self.empty_body()
        try:
            await self.service.revival.leave(user_name, server_name)
        except NotFound as error:
            raise NotFound(_("There is no such server.")) from error
        await self.answer_server(user_name, server_name)


def routes(server: str, named_server: str) -> list[tuple[str, type[ApiHandler]]]:
    """The routes below the addresses of a default and of a named server."""
    below: list[tuple[str, type[ApiHandler]]] = [
        (r"/lease/extend", ExtendHandler),
        (r"/lease/keep", KeepHandler),
        (r"/notices/read", ReadNoticesHandler),
        (r"/queue/leave", LeaveQueueHandler),
    ]
    return [(base + path, handler) for base in (server, named_server) for path, handler in below]
