"""REST of the service: servers, resets, health, and the table of all addresses.

Guarantees: openapi.yaml is its contract, a test compares the two; what a caller may not see is 404.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from .. import __version__
from ..errors import Conflict, HubUnavailable, LedgerUnavailable, NotFound
from ..i18n import _
from ..models import Operation, OperationKind
from ..placement import usable_count
from ..scopes import DEVICES_READ, ENVIRONMENT_READ, ENVIRONMENT_RESET
from . import (
    api_admin,
    api_class,
    api_ddp,
    api_doctor,
    api_document,
    api_events,
    api_groups,
    api_hands,
    api_images,
    api_kept_files,
    api_lease,
    api_leases,
    api_messages,
    api_queue,
    api_settings,
    api_users,
)
from .api_base import LONGEST_REASON, ApiHandler, Check, text, whole
from .api_host import HostViewHandler
from .auth import Resource, requires
from .handlers import ServiceHandler
from .views import operation_brief, operation_view, server_view


class HealthHandler(ApiHandler):
    @requires(None)
    async def get(self) -> None:
        service = self.service
        health = service.monitor.health
        hub, ledger = "ok", "ok"
        devices = {"healthy": 0, "free": 0, "total": 0}
        try:
            await service.hub.version()
        except HubUnavailable as error:
            hub = str(error)
        try:
            records = await asyncio.to_thread(service.ledger.devices)
            devices = {
                "healthy": usable_count(records),
                "free": sum(record.is_free for record in records),
                "total": len(records),
            }
        except LedgerUnavailable as error:
            ledger = str(error)
        parts = {
            "hub": hub,
            "ledger": ledger,
            "engine": health.engine_error or "ok",
            "inventory": health.inventory_error or "ok",
            "xids": health.xid_error or "ok",
        }
        well = all(said == "ok" for said in parts.values())
        if not self.caller.holds_for_all(DEVICES_READ):
            # paths and the words of others are for those who run the machine
            parts = {name: said if said == "ok" else "unavailable" for name, said in parts.items()}
        self.answer(
            {
                "status": "ok" if well else "degraded",
                **parts,
                "devices": devices,
                "version": __version__,
            }
        )


class ServerHandler(ApiHandler):
    @requires(ENVIRONMENT_READ)
    async def get(self, user_name: str, server_name: str = "") -> None:
        self.answer(await server_view(self.service, user_name, server_name))


class OperationStarter(ApiHandler):
    """POST begins an operation of `kind` and answers at once; the page shows how it goes.

    Whoever asks for it on somebody else's server says why: its user reads it.
    """

    kind: OperationKind
    fields: Mapping[str, Check] = {}

    async def begin(self, user_name: str, server_name: str) -> None:
        wanted = self.body({}, {"reason": text(LONGEST_REASON), **self.fields})
        caller = self.caller
        reason = wanted.pop("reason", "")
        own = (caller.kind, caller.name) == ("user", user_name)
        if not own and not reason:
            raise Conflict(
                _("Say why, for {user} to read: {example}.").format(
                    user=user_name, example='{"reason": "…"}'
                )
            )
        try:
            operation = await self.service.resets.begin(
                self.kind,
                user_name,
                server_name,
                requested_by=caller.name,
                reason=reason,
                **wanted,
            )
        except NotFound as error:
            raise NotFound(_("There is no such server.")) from error
        self.answer(
            {
                "operation": operation_brief(operation),
                "progress_url": f"{self.service.prefix}operations/{operation.id}",
            },
            status=202,
        )


class ResetHandler(OperationStarter):
    kind = OperationKind.RESET

    @requires(ENVIRONMENT_RESET)
    async def post(self, user_name: str, server_name: str = "") -> None:
        await self.begin(user_name, server_name)


class UndoResetHandler(OperationStarter):
    kind = OperationKind.UNDO
    fields: Mapping[str, Check] = {"generation": whole(1, 2**31 - 1)}

    @requires(ENVIRONMENT_RESET)
    async def post(self, user_name: str, server_name: str = "") -> None:
        await self.begin(user_name, server_name)


class OperationHandler(ApiHandler):
    async def resource(self, **kwargs: str) -> Resource | None:
        self.operation = await find_operation(self, kwargs["operation_id"])
        return Resource(self.operation.user, self.operation.server)

    @requires(ENVIRONMENT_READ)
    async def get(self, operation_id: str) -> None:
        self.answer(operation_view(self.operation, self.service.hub_base_url))


class UnknownHandler(ApiHandler):
    """Any other path below api/, by whatever method."""

    def check_query(self) -> None:
        """Whatever is asked for is not there."""

    async def run(self, verb: Callable[[], Awaitable[None]]) -> None:
        """Whatever it depends on."""
        await verb()

    @requires(None)
    async def get(self) -> None:
        raise NotFound(_("There is nothing here."))

    head = post = put = patch = delete = options = get


async def find_operation(handler: ServiceHandler, operation_id: str) -> Operation:
    """The operation; NotFound in the same words as for someone else's."""
    try:
        return await asyncio.to_thread(handler.service.ledger.operation, operation_id)
    except NotFound as error:
        raise NotFound(_("There is no such server.")) from error


USER = r"api/v1/users/(?P<user_name>[^/]+)"
SERVER = USER + r"/server"
NAMED_SERVER = USER + r"/servers/(?P<server_name>[^/]+)"

ROUTES: list[tuple[str, type[ApiHandler]]] = [
    (r"api/v1/health", HealthHandler),
    *api_document.ROUTES,
    *api_admin.ROUTES,
    *api_leases.ROUTES,
    *api_queue.ROUTES,
    *api_settings.ROUTES,
    *api_images.ROUTES,
    *api_class.ROUTES,
    *api_users.ROUTES,
    *api_groups.ROUTES,
    *api_messages.ROUTES,
    *api_events.ROUTES,
    (SERVER, ServerHandler),
    (SERVER + r"/reset", ResetHandler),
    (SERVER + r"/undo-reset", UndoResetHandler),
    (SERVER + r"/host-view", HostViewHandler),
    (NAMED_SERVER, ServerHandler),
    (NAMED_SERVER + r"/reset", ResetHandler),
    (NAMED_SERVER + r"/undo-reset", UndoResetHandler),
    (NAMED_SERVER + r"/host-view", HostViewHandler),
    *api_lease.routes(SERVER, NAMED_SERVER),
    *api_ddp.routes(SERVER, NAMED_SERVER),
    *api_doctor.routes(SERVER, NAMED_SERVER),
    *api_kept_files.routes(SERVER, NAMED_SERVER),
    *api_hands.routes(USER, SERVER, NAMED_SERVER),
    (r"api/v1/operations/(?P<operation_id>[^/]+)", OperationHandler),
    (r"api(?:/.*)?", UnknownHandler),
]
