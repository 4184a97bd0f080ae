"""REST about one lease, by its id: what became of it, more time for it, and its revocation.

Guarantees: a lease of others is 404 in the same words as one that never was; whoever changes one
says why, and its user reads it; each answers with the lease as it is then; a refusal is 409 and
says why; to revoke twice, or to take it back twice, is as to do it once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta

from ..errors import Conflict, NotFound
from ..i18n import _
from ..models import Lease
from ..scopes import ENVIRONMENT_READ, LEASES_MANAGE
from ..terms import usual_notice
from .admin_views import audit_view, whole_lease_view
from .api_base import SOME_ROWS, ApiHandler, reason_text, whole
from .auth import Group, Resource, requires
from .extension import extension_by
from .lease_views import use_of

MOST_MINUTES = 7 * 24 * 60

_log = logging.getLogger(__name__)


class LeaseHandler(ApiHandler):
    """Base: the lease of the address, as the caller's scope sees it."""

    lease: Lease

    async def resource(self, **kwargs: str) -> Resource | Group | None:
        try:
            self.lease = await asyncio.to_thread(self.service.ledger.lease, kwargs["lease_id"])
        except NotFound as error:
            raise NotFound(_("There is no such lease.")) from error
        return Resource(self.lease.user, self.lease.server)

    async def authorize(self, scope: str, resource: Resource | Group | None) -> None:
        try:
            await super().authorize(scope, resource)
        except NotFound as error:
            raise NotFound(_("There is no such lease.")) from error

    def require_live(self) -> None:
        """Raises Conflict if the lease has ended."""
        if self.lease.ended_at is not None:
            raise Conflict(_("The lease has ended."))


class OneLeaseHandler(LeaseHandler):
    @requires(ENVIRONMENT_READ)
    async def get(self, lease_id: str) -> None:
        lines = await asyncio.to_thread(self.service.ledger.audit_trail, lease_id, limit=SOME_ROWS)
        self.answer(
            {
                "lease": whole_lease_view(self.lease),
                "audit": [audit_view(each) for each in reversed(lines)],
            }
        )


class LeaseChanger(LeaseHandler):
    """Base: a change, and the lease as it is then."""

    async def change(self, what: str, act: Callable[[], Awaitable[object]]) -> None:
        """Raises Conflict if the lease ended meanwhile."""
        try:
            await act()
            found = await asyncio.to_thread(self.service.ledger.lease, self.lease.id)
        except NotFound as error:
            raise Conflict(_("The lease has ended.")) from error
        _log.info(
            "%s: %s of lease %s, until %s", self.caller.name, what, found.id, found.expires_at
        )
        self.answer({"lease": whole_lease_view(found)})


class ExtendLeaseHandler(LeaseChanger):
    @requires(LEASES_MANAGE)
    async def post(self, lease_id: str) -> None:
        given = self.body({"minutes": whole(1, MOST_MINUTES), "reason": reason_text}, {})
        self.require_live()
        ledger, now = self.service.ledger, self.service.now()
        snapshot = await asyncio.to_thread(ledger.snapshot, now)
        lease = next((each for each in snapshot.leases if each.id == lease_id), None)
        if lease is None:
            raise Conflict(_("The lease has ended."))
        use = await asyncio.to_thread(use_of, ledger, snapshot, {lease.user: lease.groups})
        extension = extension_by(lease, timedelta(minutes=given["minutes"]), snapshot, use)
        until = extension.until
        if until is None:
            raise Conflict(extension.refusal)
        await self.change(
            "extension",
            lambda: asyncio.to_thread(
                ledger.extend,
                lease_id,
                until,
                now,
                by_user=False,
                actor=self.caller.name,
                reason=given["reason"],
            ),
        )


class RevokeLeaseHandler(LeaseChanger):
    @requires(LEASES_MANAGE)
    async def post(self, lease_id: str) -> None:
        given = self.body({"reason": reason_text}, {"minutes": whole(0, MOST_MINUTES)})
        self.require_live()
        ledger = self.service.ledger
        if "minutes" in given:
            notice = timedelta(minutes=given["minutes"])
        else:
            notice = usual_notice(await asyncio.to_thread(ledger.policy))
        await self.change(
            "revocation",
            lambda: asyncio.to_thread(
                ledger.revoke,
                lease_id,
                notice,
                given["reason"],
                self.service.now(),
                actor=self.caller.name,
            ),
        )


class UndoRevokeLeaseHandler(LeaseChanger):
    @requires(LEASES_MANAGE)
    async def post(self, lease_id: str) -> None:
        self.empty_body()
        self.require_live()
        await self.change(
            "no revocation",
            lambda: asyncio.to_thread(
                self.service.ledger.undo_revoke,
                lease_id,
                self.service.now(),
                actor=self.caller.name,
            ),
        )


LEASE = r"api/v1/leases/(?P<lease_id>[^/]+)"

ROUTES: list[tuple[str, type[ApiHandler]]] = [
    (LEASE, OneLeaseHandler),
    (LEASE + r"/extend", ExtendLeaseHandler),
    (LEASE + r"/revoke", RevokeLeaseHandler),
    (LEASE + r"/undo-revoke", UndoRevokeLeaseHandler),
]
