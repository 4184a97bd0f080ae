"""Client of the gpucamp service, with the server's own token; reset and lease say what they ask.

Guarantees: every call ends within TIMEOUT_SECONDS; a service that is down, slow or talks nonsense
is a ServiceUnavailable that says what to do; the token goes to the configured address only, never
along a redirect.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote, urlsplit

from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest

from .errors import (
    BadRequest,
    Conflict,
    Forbidden,
    GpucampServerError,
    NotFound,
    ServiceUnavailable,
)
from .i18n import N_

CONNECT_SECONDS = 3.0
TIMEOUT_SECONDS = 10.0

_STATUS: dict[int, type[GpucampServerError]] = {
    400: BadRequest,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
}


@dataclass(frozen=True)
class Answer:
    """What the service said, and when by its own clock (to the second; None: it did not tell)."""

    body: dict[str, Any]
    date: datetime | None


@dataclass(frozen=True)
class ServiceClient:
    """The service as seen by one server."""

    url: str  # ends with "/"
    token: str
    user: str
    server: str  # "" for the default one
    language: str = ""

    @classmethod
    def from_environment(cls, environ: Mapping[str, str], language: str = "") -> ServiceClient:
        """Raises ServiceUnavailable where no hub of gpucamp started this server."""
        url, token = environ.get("GPUCAMP_SERVICE_URL"), environ.get("JUPYTERHUB_API_TOKEN")
        user = environ.get("JUPYTERHUB_USER")
        if not (url and token and user):
            raise ServiceUnavailable(
                N_("This JupyterLab was not started by a gpucamp hub, which alone can do this.")
            )
        server = environ.get("JUPYTERHUB_SERVER_NAME", "")
        return cls(url.rstrip("/") + "/", token, user, server, language)

    @property
    def page(self) -> str:
        """The service's page for people: an absolute path on the hub's public host."""
        return urlsplit(self.url).path or "/"

    def belongs_to(self, visitor: object) -> bool:
        """Whether the visitor is the server's own user, not someone it was shared with."""
        return getattr(visitor, "username", None) == self.user

    def refuse_others(self, visitor: object, message: str) -> None:
        """Raises Forbidden with `message` (it may name {user}) for anyone but its own user."""
        if not self.belongs_to(visitor):
            raise Forbidden(message, user=self.user)

    async def call(
        self, method: str, action: str, body: Mapping[str, object] | None = None
    ) -> Answer:
        """Ask for `action` ("" or "/reset", say) of this server. Raises domain errors."""
        name = f"servers/{quote(self.server, safe='')}" if self.server else "server"
        request = HTTPRequest(
            f"{self.url}api/v1/users/{quote(self.user, safe='')}/{name}{action}",
            method=method,
            headers={
                "Authorization": f"token {self.token}",
                "Accept": "application/json",
                "Content-Type": "application/json",
                **({"Accept-Language": self.language} if self.language else {}),
            },
            body=json.dumps(body or {}) if method == "POST" else None,
            connect_timeout=CONNECT_SECONDS,
            request_timeout=TIMEOUT_SECONDS,
            follow_redirects=False,
        )
        try:
            response = await AsyncHTTPClient().fetch(request)
        except HTTPClientError as error:
            raise self._refusal(error) from None
        except (OSError, ValueError) as error:
            raise self._unavailable() from error
        answer = _object(response.body)
        if answer is None:
            raise self.nonsense()
        return Answer(answer, _date(response.headers.get("Date")))

    def _refusal(self, error: HTTPClientError) -> GpucampServerError:
        kind = _STATUS.get(error.code)
        answer = _object(error.response.body) if error.response is not None else None
        detail = (answer or {}).get("detail")
        if kind is None or not isinstance(detail, str):
            return self._unavailable()
        return kind(detail)  # in the reader's language already

    def _unavailable(self) -> ServiceUnavailable:
        return ServiceUnavailable(
            N_(
                "The gpucamp service does not answer. Nothing of yours is lost: wait a minute and "
                "try again, here or on {page}. If it stays, tell your instructor."
            ),
            page=self.page,
        )

    def nonsense(self) -> ServiceUnavailable:
        """For an answer without what was asked for."""
        return ServiceUnavailable(
            N_("The gpucamp service gave an answer that cannot be used. See {page}."),
            page=self.page,
        )


def _date(header: str | None) -> datetime | None:
    try:
        return parsedate_to_datetime(header or "").astimezone(UTC)
    except (TypeError, ValueError):
        return None


def _object(body: bytes | None) -> dict[str, Any] | None:
    try:
        value = json.loads(body or b"")
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
