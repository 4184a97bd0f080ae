"""REST of the service. openapi.yaml is its contract; a test compares the two.

Guarantees: answers are JSON; an error is {"status", "message"}; what a caller may not see is 404.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

from tornado.web import HTTPError

from .. import __version__
from ..errors import BadRequest, HubUnavailable, LedgerUnavailable, NotFound
from ..i18n import _
from ..models import Operation, OperationKind
from ..placement import usable_count
from ..scopes import DEVICES_READ, ENVIRONMENT_READ, ENVIRONMENT_RESET, LEASES_READ
from .auth import Resource, requires
from .handlers import ServiceHandler
from .views import (
    devices_view,
    lease_view,
    operation_brief,
    operation_view,
    server_view,
)


class ApiHandler(ServiceHandler):
    """Base of REST handlers. A query argument that is not in `query` is refused: it is a typo."""

    query: frozenset[str] = frozenset()

    async def prepare(self) -> None:
        await super().prepare()
        unknown = set(self.request.query_arguments) - self.query - {"_xsrf"}
        if unknown:
            raise BadRequest(
                _("This address knows no query argument but: {names}.").format(
                    names=", ".join(sorted(self.query)) or "-"
                )
            )

    def refuse_unknown(self) -> None:
        raise HTTPError(401)

    def show_error(self, status: int, message: str) -> None:
        if status == 401:
            self.set_header("WWW-Authenticate", "Bearer")
        self.answer({"status": status, "message": message})

    def answer(self, value: dict[str, Any], status: int | None = None) -> None:
        """Finish with a JSON object."""
        if status is not None:
            self.set_status(status)
        self.set_header("Content-Type", "application/json; charset=utf-8")
        self.finish(json.dumps(value, ensure_ascii=False))

    def empty_body(self) -> None:
        """Accept no body or {}. Raises BadRequest."""
        if not self.request.body:
            return
        try:
            body = json.loads(self.request.body)
        except (ValueError, RecursionError):
            body = None
        if body != {}:
            raise BadRequest(_("The body must be empty or {}: there is nothing to set."))


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


class DevicesHandler(ApiHandler):
    @requires(DEVICES_READ)
    async def get(self) -> None:
        self.answer({"devices": await devices_view(self.service)})


class LeasesHandler(ApiHandler):
    query = frozenset({"include_ended"})

    @requires(LEASES_READ)
    async def get(self) -> None:
        flag = self.get_query_argument("include_ended", "0")
        if flag not in ("0", "1"):
            raise BadRequest(_("include_ended must be 0 or 1."))
        leases = await asyncio.to_thread(self.service.ledger.leases, include_ended=flag == "1")
        self.answer({"leases": [lease_view(lease) for lease in leases]})


class ServerHandler(ApiHandler):
    @requires(ENVIRONMENT_READ)
    async def get(self, user_name: str, server_name: str = "") -> None:
        self.answer(await server_view(self.service, user_name, server_name))


class OperationStarter(ApiHandler):
    """POST begins an operation of `kind` and answers at once; the page shows how it goes."""

    kind: OperationKind

    async def begin(self, user_name: str, server_name: str) -> None:
        self.empty_body()
        try:
            operation = await self.service.resets.begin(
                self.kind, user_name, server_name, requested_by=self.caller.name
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
    """Any other path below api/."""

    @requires(None)
    async def get(self) -> None:
        raise NotFound(_("There is nothing here."))

    @requires(None)
    async def post(self) -> None:
        raise NotFound(_("There is nothing here."))


async def find_operation(handler: ServiceHandler, operation_id: str) -> Operation:
    """The operation; NotFound in the same words as for someone else's."""
    try:
        return await asyncio.to_thread(handler.service.ledger.operation, operation_id)
    except NotFound as error:
        raise NotFound(_("There is no such server.")) from error


SERVER = r"api/users/(?P<user_name>[^/]+)/server"
NAMED_SERVER = r"api/users/(?P<user_name>[^/]+)/servers/(?P<server_name>[^/]+)"

ROUTES: list[tuple[str, type[ApiHandler]]] = [
    (r"api/health", HealthHandler),
    (r"api/devices", DevicesHandler),
    (r"api/leases", LeasesHandler),
    (SERVER, ServerHandler),
    (SERVER + r"/reset", ResetHandler),
    (SERVER + r"/undo-reset", UndoResetHandler),
    (NAMED_SERVER, ServerHandler),
    (NAMED_SERVER + r"/reset", ResetHandler),
    (NAMED_SERVER + r"/undo-reset", UndoResetHandler),
    (r"api/operations/(?P<operation_id>[^/]+)", OperationHandler),
    (r"api(?:/.*)?", UnknownHandler),
]
