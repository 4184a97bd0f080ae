"""What all handlers of the service share: identity, language, headers, and how errors look."""

from __future__ import annotations

import logging
from http.client import responses
from typing import Any
from uuid import uuid4

from tornado.web import RequestHandler

from ..i18n import _, choose_language, language, set_language
from . import counters
from .auth import AuthenticatedHandler
from .http_errors import message_for, status_of

_log = logging.getLogger(__name__)

LANGUAGE_COOKIE = "gpucamp-language"

SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class ServiceHandler(AuthenticatedHandler, RequestHandler):
    """Base of pages and REST."""

    def initialize(self, route: str = counters.OTHER) -> None:
        self._route = route  # its address with names for what differs, such as /api/v1/users/{user}
        self.hub_auth = self.settings["hub_auth"]
        self._begun: float | None = None  # seconds until a stream began
        self.instance = ""  # names an error that nobody expected, here and in the log
        # nobody, until `identify` knows better: current_user never asks the hub by itself
        self._hub_auth_user_cache = None

    def on_finish(self) -> None:
        request = self.request
        counters.http_request(
            self._route,
            request.method,
            self.get_status(),
            request.request_time() if self._begun is None else self._begun,
        )

    def stream_begins(self) -> None:
        """What follows has no end of its own: that the answer has begun is what is measured."""
        self._begun = self.request.request_time()

    def set_default_headers(self) -> None:
        for name, value in SECURITY_HEADERS.items():
            self.set_header(name, value)

    def choose_language(self) -> None:
        """Speak the visitor's language from here on."""
        set_language(
            choose_language(
                self.request.headers.get("Accept-Language", ""),
                self.get_cookie(LANGUAGE_COOKIE) or "",
            )
        )

    async def prepare(self) -> None:
        self.choose_language()
        if not await self.identify():
            self.refuse_unknown()

    def refuse_unknown(self) -> None:
        """Nobody JupyterHub knows: say so, or lead them to sign in."""
        raise NotImplementedError

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        error = kwargs["exc_info"][1] if "exc_info" in kwargs else None
        message = message_for(error, status_code)
        if status_code == 405:
            known = ", ".join(
                verb
                for verb in self.SUPPORTED_METHODS
                if getattr(type(self), verb.lower()) is not getattr(RequestHandler, verb.lower())
            )
            self.set_header("Allow", known)
            message = _("This address knows no method but {methods}.").format(methods=known)
        self.show_error(status_code, message, error)

    def show_error(self, status: int, message: str, error: BaseException | None = None) -> None:
        """Write the error in the handler's own form."""
        raise NotImplementedError

    def send_error(self, status_code: int = 500, **kwargs: Any) -> None:
        error = kwargs["exc_info"][1] if "exc_info" in kwargs else None
        status = status_of(error) or status_code
        kwargs.pop("reason", None)
        super().send_error(status, reason=responses.get(status, "Unknown"), **kwargs)

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        status = status_of(value)
        if status is None:
            self.instance = uuid4().urn
            _log.error("What follows was answered as %s.", self.instance)
            super().log_exception(typ, value, tb)
        elif status >= 500:
            # expected, so no traceback; people are told less than this
            _log.warning("%s: %s", status, value)

    @property
    def language(self) -> str:
        """The language of this request."""
        return language()
