"""Client of the gpucamp service, with the server's own token.

Guarantees: every call ends within TIMEOUT_SECONDS; a service that is down, slow or talks nonsense
is a ServiceUnavailable that says what to do; the token goes to the configured address only, never
along a redirect; the address that a browser is sent to is below the service's own path.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest

from ..errors import (
    BadRequest,
    Conflict,
    Forbidden,
    GpucampServerError,
    NotFound,
    ServiceUnavailable,
)
from ..i18n import N_

CONNECT_SECONDS = 3.0
TIMEOUT_SECONDS = 10.0

_STATUS: dict[int, type[GpucampServerError]] = {
    400: BadRequest,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
}


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
                N_(
                    "This JupyterLab was not started by a gpucamp hub, so there is no environment "
                    "to reset."
                )
            )
        server = environ.get("JUPYTERHUB_SERVER_NAME", "")
        return cls(url.rstrip("/") + "/", token, user, server, language)

    @property
    def page(self) -> str:
        """The service's page for people: an absolute path on the hub's public host."""
        return urlsplit(self.url).path or "/"

    async def environment(self) -> dict[str, Any]:
        """The environment: generation, can_undo, lease, operation. Raises domain errors."""
        return await self._call("GET", "")

    async def reset(self, *, undo: bool) -> str:
        """Begin a reset or its undo; the path of the page that shows how it goes."""
        answer = await self._call("POST", "/undo-reset" if undo else "/reset")
        progress = answer.get("progress_url")
        if isinstance(progress, str) and self._is_mine(progress):
            return progress
        operation = answer.get("operation")
        number = operation.get("id") if isinstance(operation, dict) else None
        if not isinstance(number, (str, int)):
            raise self._nonsense()
        return f"{self.page}operations/{quote(str(number), safe='')}"

    def _is_mine(self, path: str) -> bool:
        return (
            path.startswith(self.page)
            and not path.startswith("//")
            and ".." not in path
            and "\\" not in path
            and path.isprintable()
        )

    async def _call(self, method: str, action: str) -> dict[str, Any]:
        name = f"servers/{quote(self.server, safe='')}" if self.server else "server"
        request = HTTPRequest(
            f"{self.url}api/users/{quote(self.user, safe='')}/{name}{action}",
            method=method,
            headers={
                "Authorization": f"token {self.token}",
                "Accept": "application/json",
                "Content-Type": "application/json",
                **({"Accept-Language": self.language} if self.language else {}),
            },
            body="{}" if method == "POST" else None,
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
            raise self._nonsense()
        return answer

    def _refusal(self, error: HTTPClientError) -> GpucampServerError:
        kind = _STATUS.get(error.code)
        answer = _object(error.response.body) if error.response is not None else None
        message = (answer or {}).get("message")
        if kind is None or not isinstance(message, str):
            return self._unavailable()
        return kind(message)  # in the reader's language already

    def _unavailable(self) -> ServiceUnavailable:
        return ServiceUnavailable(
            N_(
                "The gpucamp service does not answer. Nothing of yours is lost: wait a minute and "
                "try again, here or on {page}. If it stays, tell your instructor."
            ),
            page=self.page,
        )

    def _nonsense(self) -> ServiceUnavailable:
        return ServiceUnavailable(
            N_("The gpucamp service gave an answer that cannot be used. See {page}."),
            page=self.page,
        )


def _object(body: bytes | None) -> dict[str, Any] | None:
    try:
        value = json.loads(body or b"")
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
