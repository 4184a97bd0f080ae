"""Pages of the service: my environment, and the progress of a reset.

Guarantees: a page works at the width of a phone, by keyboard, and while the user's server is down;
it keeps itself up to date without taking the focus away.
"""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from urllib.parse import quote

from jupyterhub.services.auth import HubOAuthCallbackHandler

from ..i18n import _
from ..models import FINAL_STEPS, OFFER_RESET_AFTER, Operation
from ..scopes import (
    ENVIRONMENT_EXAMINE,
    ENVIRONMENT_FILES,
    ENVIRONMENT_MESSAGE,
    ENVIRONMENT_READ,
    ENVIRONMENT_RESET,
    HAND,
    LEASE_EXTEND,
    LEASES_MANAGE,
)
from . import (
    pages_admin,
    pages_api,
    pages_class,
    pages_device,
    pages_doctor,
    pages_groups,
    pages_images,
    pages_kept_files,
    pages_leases,
    pages_settings,
)
from .api import find_operation
from .api_doctor import examination_view
from .auth import Resource, requires
from .day_bars import DayBar, day_bars
from .http_errors import message_for
from .lease_views import Json
from .page_base import Live, PageHandler
from .user_views import use_by_day, volumes_view
from .views import operation_view, server_path, server_view

DAYS = 7  # of use


class EnvironmentPage(PageHandler):
    """One server's environment; by default the visitor's own."""

    async def resource(self, **kwargs: str) -> Resource | None:
        return Resource(kwargs.get("user_name") or self.caller.name, kwargs.get("server_name", ""))

    @requires(ENVIRONMENT_READ)
    async def get(self, user_name: str = "", server_name: str = "") -> None:
        user = user_name or self.caller.name
        view = await server_view(self.service, user, server_name)
        spawn = f"{self.service.hub_prefix}spawn"
        if server_name:
            spawn += f"/{quote(user)}/{quote(server_name)}"
        elif user != self.caller.name:
            spawn += f"/{quote(user)}"
        operation = view["operation"]
        may_examine = await self.allows(ENVIRONMENT_EXAMINE, Resource(user, server_name))
        examination = examination_view(self.service.examinations.of(user, server_name))
        self.show(
            "environment.html",
            server=view,
            own=user == self.caller.name,
            spawn_url=spawn,
            api_url=f"{self.service.prefix}api/v1/{server_path(user, server_name)}",
            may_write=user != self.caller.name
            and await self.allows(ENVIRONMENT_MESSAGE, Resource(user, "")),
            hand_url=f"{self.service.prefix}api/v1/{server_path(user, server_name)}/hand",
            may_reset=await self.allows(ENVIRONMENT_RESET, Resource(user, server_name)),
            may_read_files=await self.allows(ENVIRONMENT_FILES, Resource(user, server_name)),
            may_examine=may_examine,
            examination=examination if may_examine else None,
            of_earlier=_is_of_earlier(examination, view),
            may_manage_lease=user != self.caller.name
            and await self.allows(LEASES_MANAGE, Resource(user, server_name)),
            notice_minutes=await pages_admin.notice_minutes(self.service),
            may_extend=await self.allows(LEASE_EXTEND, Resource(user, server_name)),
            may_hand=await self.allows(HAND, Resource(user, server_name)),
            under_way=operation if operation and operation["step"] not in FINAL_STEPS else None,
            offers_reset=view["failed_starts"] >= OFFER_RESET_AFTER and view["state"] != "running",
            limits=limits(view["quota"]),
            week=await self._week(user),
            disk=disk(view["space"]),
            volumes=self._volumes(view),
            warned=self._ends_soon(view),
            live=Live(_patience(view, examination), gap=3, about=user),
            simulated=any(d["simulated"] for d in (view["lease"] or {"devices": []})["devices"]),
        )

    async def _week(self, user: str) -> tuple[DayBar, ...] | None:
        """What they used on each of the last days; None: for whoever may see them as a whole."""
        if not await self.allows_for_user(ENVIRONMENT_READ, user):
            return None
        ledger, now = self.service.ledger, self.service.now()
        return day_bars(await asyncio.to_thread(use_by_day, ledger, user, DAYS, now))

    def _volumes(self, view: Json) -> list[Json]:
        """The environments of this server that have a volume, the one in use first."""
        user, server = view["user"], view["server"]
        found = volumes_view(self.service, user, {(server, view["generation"])})
        environments = found["environments"] if found is not None else []
        return sorted(
            (each for each in environments if each["server"] == server),
            key=lambda each: (not each["in_use"], -each["generation"]),
        )

    def _ends_soon(self, view: Json) -> bool:
        """Whether the first warning before the end of the lease is due."""
        ends = view["lease"]["expires_at"] if view["lease"] else None
        if ends is None:
            return False
        left = datetime.fromisoformat(ends) - self.service.now()
        return left <= timedelta(minutes=max(view["warn_minutes"], default=0))


def _is_of_earlier(examination: Json | None, view: Json) -> bool:
    """Whether an examination is about an environment that was left since."""
    left = max((datetime.fromisoformat(each["left_at"]) for each in view["undo"]), default=None)
    return (
        examination is not None
        and left is not None
        and datetime.fromisoformat(examination["requested_at"]) < left
    )


def _patience(view: Json, examination: Json | None) -> int:
    """Seconds until the page asks again: soon while something goes on that is no event."""
    operation = view["operation"]
    goes_on = (
        view["state"] not in ("running", "stopped")
        or (operation is not None and operation["step"] not in FINAL_STEPS)
        or (examination is not None and examination["state"] in ("waiting", "running"))
    )
    if goes_on:
        return 4
    # what others do, of which they are told no events, changes a place and a refusal
    on_others = view["queue"] or (view["lease"] and view["lease"]["extend_refusal"])
    return 20 if on_others else 40


def limits(quota: Json | None) -> list[tuple[str, float, float]]:
    """What is limited: its name, what is used, and the limit."""
    names = {
        "devices": _("GPUs at a time"),
        "servers": _("Servers at a time"),
        "hours_today": _("Device-hours today (UTC)"),
        "hours": _("Device-hours in all"),
    }
    return [
        (label, quota[name]["used"], quota[name]["limit"])
        for name, label in names.items()
        if quota is not None and quota[name]["limit"] is not None
    ]


def disk(space: Json) -> list[tuple[str, Json]]:
    """What takes disk: its name and its part of the server's view; [] before it is measured."""
    names = {"work": _("~/work"), "environments": _("Environments")}
    return [(label, space[name]) for name, label in names.items() if space["measured_at"]]


class OperationPage(PageHandler):
    """How a reset or undo goes."""

    operation: Operation

    async def resource(self, **kwargs: str) -> Resource | None:
        self.operation = await find_operation(self, kwargs["operation_id"])
        return Resource(self.operation.user, self.operation.server)

    @requires(ENVIRONMENT_READ)
    async def get(self, operation_id: str) -> None:
        operation = self.operation
        own = operation.user == self.caller.name
        page = "" if own and not operation.server else server_path(operation.user, operation.server)
        self.show(
            "operation.html",
            operation=operation_view(operation, self.service.hub_base_url),
            own=own,
            spawn_url=f"{self.service.hub_prefix}spawn/{quote(operation.user)}"
            + (f"/{quote(operation.server)}" if operation.server else ""),
            page_url=f"{self.service.prefix}{page}",
            api_url=f"{self.service.prefix}api/v1/operations/{operation_id}",
            retry_url=f"{self.service.prefix}api/v1/{server_path(operation.user, operation.server)}"
            + ("/reset" if operation.kind == "reset" else "/undo-reset"),
            retry_body=_body(operation),
        )


def _body(operation: Operation) -> Json:
    """The body of a request for the same operation."""
    body: Json = {}
    if operation.reason:
        body["reason"] = operation.reason
    if operation.generation is not None:
        body["generation"] = operation.generation
    return body


class CallbackHandler(PageHandler, HubOAuthCallbackHandler):
    """The end of signing in: JupyterHub sends the browser here with a code.

    Nobody is known yet, so nobody is asked for; the code and the state are the proof.
    """

    async def prepare(self) -> None:
        self.choose_language()

    def show_error(self, status: int, message: str, error: BaseException | None = None) -> None:
        if status < 500:
            message = _("Signing in did not work. Go to your environment to try again.")
        super().show_error(status, message, error)


class UnknownPage(PageHandler):
    """Any other path."""

    @requires(None)
    async def get(self) -> None:
        self.set_status(404)
        self.show_error(404, message_for(None, 404))


ROUTES: list[tuple[str, type[PageHandler]]] = [
    (r"", EnvironmentPage),
    (r"servers/(?P<server_name>[^/]+)", EnvironmentPage),
    (r"users/(?P<user_name>[^/]+)/server", EnvironmentPage),
    (r"users/(?P<user_name>[^/]+)/servers/(?P<server_name>[^/]+)", EnvironmentPage),
    (r"operations/(?P<operation_id>[^/]+)", OperationPage),
    *pages_admin.ROUTES,
    *pages_device.ROUTES,
    *pages_leases.ROUTES,
    *pages_settings.ROUTES,
    *pages_class.ROUTES,
    *pages_api.ROUTES,
    *pages_doctor.ROUTES,
    *pages_images.ROUTES,
    *pages_kept_files.ROUTES,
    *pages_groups.ROUTES,
    (r".*", UnknownPage),
]
