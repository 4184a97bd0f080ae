"""Pages of the service: my environment, the progress of a reset, and all devices for instructors.

Guarantees: a page shows what REST would tell the same visitor, in their language; it works at the
width of a phone, by keyboard, and while the user's server is down.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2
from jupyterhub.services.auth import HubOAuthCallbackHandler

from .. import __version__
from ..i18n import LANGUAGES, _, ngettext
from ..models import FINAL_STEPS, Operation
from ..scopes import DEVICES_READ, ENVIRONMENT_READ, ENVIRONMENT_RESET, LEASES_READ
from .api import find_operation
from .auth import Resource, requires
from .handlers import LANGUAGE_COOKIE, ServiceHandler
from .http_errors import message_for
from .views import devices_view, operation_view, server_path, server_view

HERE = Path(__file__).parent


def make_templates() -> jinja2.Environment:
    """The templates, with gettext in the language of the running request."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        extensions=["jinja2.ext.i18n"],
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.install_gettext_callables(  # type: ignore[attr-defined]  # i18n adds it
        gettext=_, ngettext=ngettext, newstyle=True
    )
    environment.filters["short_image"] = short_image
    environment.filters["gibibytes"] = lambda size: f"{size / 2**30:.0f} GiB"
    return environment


def short_image(image: str) -> str:
    """The first twelve digits of an image's digest or id; a name without one stays."""
    name, separator, digest = image.rpartition("sha256:")
    return digest[:12] if separator else image


class PageHandler(ServiceHandler):
    """Base of pages."""

    async def prepare(self) -> None:
        await super().prepare()
        chosen = self.get_query_argument("lang", "")
        if not self._finished and chosen in LANGUAGES:
            self.set_cookie(
                LANGUAGE_COOKIE, chosen, path=self.service.prefix, expires_days=365, samesite="Lax"
            )
            self.redirect(self.request.path)

    def refuse_unknown(self) -> None:
        self.redirect(self.get_login_url())

    def show(self, template: str, **values: Any) -> None:
        """Render a template with what every page needs."""
        self.set_header("Content-Type", "text/html; charset=utf-8")
        service = self.service
        caller = self.caller if self.current_user else None
        self.finish(
            self.settings["templates"]
            .get_template(template)
            .render(
                prefix=service.prefix,
                home_url=f"{service.hub_prefix}home",
                language=self.language,
                languages=LANGUAGES,
                path=self.request.path,
                visitor=caller.name if caller else "",
                sees_devices=bool(caller and caller.holds_for_all(DEVICES_READ)),
                xsrf_token=self.xsrf_token.decode() if caller else "",
                version=__version__,
                **values,
            )
        )

    def show_error(self, status: int, message: str) -> None:
        self.show("error.html", status=status, message=message)


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
        self.show(
            "environment.html",
            server=view,
            own=user == self.caller.name,
            spawn_url=spawn,
            api_url=f"{self.service.prefix}api/{server_path(user, server_name)}",
            may_reset=await self.allows(ENVIRONMENT_RESET, Resource(user, server_name)),
            under_way=operation if operation and operation["step"] not in FINAL_STEPS else None,
            simulated=any(d["simulated"] for d in (view["lease"] or {"devices": []})["devices"]),
        )


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
            api_url=f"{self.service.prefix}api/operations/{operation_id}",
            retry_url=f"{self.service.prefix}api/{server_path(operation.user, operation.server)}"
            + ("/reset" if operation.kind == "reset" else "/undo-reset"),
        )


class DevicesPage(PageHandler):
    """All devices and who holds them."""

    @requires(DEVICES_READ)
    async def get(self) -> None:
        self.show(
            "devices.html",
            devices=await devices_view(self.service),
            sees_leases=self.caller.holds_for_all(LEASES_READ),
            server_path=server_path,
        )


class CallbackHandler(PageHandler, HubOAuthCallbackHandler):
    """The end of signing in: JupyterHub sends the browser here with a code.

    Nobody is known yet, so nobody is asked for; the code and the state are the proof.
    """

    async def prepare(self) -> None:
        self.choose_language()

    def show_error(self, status: int, message: str) -> None:
        if status < 500:
            message = _("Signing in did not work. Go to your environment to try again.")
        super().show_error(status, message)


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
    (r"devices", DevicesPage),
    (r".*", UnknownPage),
]
