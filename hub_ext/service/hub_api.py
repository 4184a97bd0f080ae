"""Client of JupyterHub's REST API: what the service may ask of the hub.

Guarantees:
- Every call ends within its time limit.
- A question (GET) is asked again after a connection error or a passing answer (429, 5xx), a few
  times. A start (POST) is sent once, because its effect is unknown when the reply is lost: the
  caller looks at the server's state and decides. A stop (DELETE) may be sent twice at once, which
  is the same as once.
- No answer, or a passing error, is HubUnavailable; a definite no is HubRefused with the hub's own
  reason; an unknown user, or a name that no address can have, is NotFound. Nothing else is raised
  but cancellation.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import aiohttp

from ..errors import HubRefused, HubUnavailable, NotFound

PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
# For a command, 5xx is the hub's final word: a spawn that failed answers with it.
TOO_MANY = frozenset({429})
_PAGE = 200  # groups at a time


@dataclass(frozen=True, slots=True)
class HubServer:
    """A user's server as the hub sees it. `pending` is "spawn", "stop" or ""."""

    stopped: bool
    ready: bool
    pending: str
    url: str
    user_options: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class HubUser:
    """A user as the hub knows it."""

    name: str
    groups: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class HubGroup:
    """A group as the hub knows it."""

    name: str
    users: tuple[str, ...] = ()


class HubClient:
    """Asynchronous; make it inside the running event loop's life and close it."""

    def __init__(
        self,
        api_url: str,
        api_token: str,
        *,
        question_seconds: float = 5.0,
        command_seconds: float = 45.0,
        attempts: int = 3,
    ) -> None:
        """`command_seconds` must exceed the hub's slow_spawn_timeout (10 s) by a margin."""
        self._api_url = api_url.rstrip("/")
        self._headers = {"Authorization": f"token {api_token}", "Accept": "application/json"}
        self._question_seconds = question_seconds
        self._command_seconds = command_seconds
        self._attempts = attempts
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close the connections; idempotent."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def version(self) -> str:
        """The hub's version: proof that it answers. Raises HubUnavailable."""
        answer = await self._send("GET", "/", seconds=2.0)
        return str(_object(answer.body).get("version", ""))

    async def user(self, name: str) -> HubUser:
        """Raises NotFound, HubUnavailable, HubRefused."""
        answer = await self._ask(f"/users/{_segment(name)}")
        if answer.status == 404:
            raise NotFound(f"JupyterHub knows no user {name!r}.")
        model = _object(_good(answer).body)
        groups = model.get("groups")
        names = tuple(str(group) for group in groups) if isinstance(groups, list) else ()
        return HubUser(name=str(model.get("name", name)), groups=names)

    async def group(self, name: str) -> HubGroup:
        """Who is in a group. Raises NotFound, HubUnavailable, HubRefused."""
        answer = await self._ask(f"/groups/{_segment(name)}")
        if answer.status == 404:
            raise NotFound(f"JupyterHub knows no group {name!r}.")
        return _group(_object(_good(answer).body))

    async def groups(self) -> tuple[HubGroup, ...]:
        """All groups, by name. Raises HubUnavailable, HubRefused."""
        found: dict[str, HubGroup] = {}
        while True:
            answer = _good(await self._ask(f"/groups?offset={len(found)}&limit={_PAGE}"))
            page = [_group(each) for each in _list(answer.body) if isinstance(each, dict)]
            if all(group.name in found for group in page):  # none, or a hub that knows no pages
                return tuple(found[name] for name in sorted(found))
            found |= {group.name: group for group in page}

    async def server(self, user: str, server: str) -> HubServer | None:
        """The server, or None if it was never made. Raises NotFound for an unknown user."""
        answer = await self._ask(_server_path(user, server))
        if answer.status == 404:
            await self.user(user)
            return None
        model = _object(_good(answer).body)
        options = model.get("user_options")
        return HubServer(
            stopped=bool(model.get("stopped", False)),
            ready=bool(model.get("ready", False)),
            pending=str(model.get("pending") or ""),
            url=str(model.get("full_url") or model.get("url") or ""),
            user_options=dict(options) if isinstance(options, dict) else {},
        )

    async def stop(self, user: str, server: str) -> None:
        """Ask for a stop. Returning does not mean that it has stopped: look at `server`."""
        answer = await self._send("DELETE", _server_path(user, server), self._command_seconds)
        if answer.status != 404:
            _good(answer, passing=TOO_MANY)

    async def start(self, user: str, server: str, user_options: Mapping[str, object]) -> None:
        """Ask for a start. Returning does not mean that it is ready: look at `server`."""
        body = {"user_options": dict(user_options)}
        path = _server_path(user, server)
        answer = await self._send("POST", path, self._command_seconds, body)
        if answer.status == 404:
            raise NotFound(f"JupyterHub knows no user {user!r}.")
        _good(answer, passing=TOO_MANY)

    async def _ask(self, path: str) -> _Answer:
        delay = 0.2
        for attempt in range(1, self._attempts + 1):
            try:
                answer = await self._send("GET", path, self._question_seconds)
                if answer.status not in PASSING or attempt == self._attempts:
                    return answer
            except HubUnavailable:
                if attempt == self._attempts:
                    raise
            await asyncio.sleep(delay)
            delay *= 2
        raise AssertionError("unreachable: the last attempt returns or raises")

    async def _send(
        self, method: str, path: str, seconds: float, body: Mapping[str, object] | None = None
    ) -> _Answer:
        if self._session is None:
            self._session = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar())
        try:
            async with self._session.request(
                method,
                self._api_url + path,
                headers=self._headers,
                json=body,
                timeout=aiohttp.ClientTimeout(total=seconds),
            ) as response:
                return _Answer(response.status, await response.text())
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise HubUnavailable(
                f"JupyterHub did not answer ({type(error).__name__}). It may be restarting; "
                "try again in a minute."
            ) from error


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    body: str


def _server_path(user: str, server: str) -> str:
    path = f"/users/{_segment(user)}"
    return f"{path}/servers/{_segment(server)}" if server else f"{path}/server"


def _segment(name: str) -> str:
    """A name as one step of a path. Raises NotFound for what leads elsewhere, quoted or not."""
    if name in (".", ".."):
        raise NotFound(f"JupyterHub knows nothing called {name!r}.")
    return quote(name, safe="")


def _object(body: str) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise HubUnavailable("JupyterHub gave an answer that is no JSON object; look at its log.")
    return value


def _list(body: str) -> list[Any]:
    try:
        value = json.loads(body)
    except ValueError:
        value = None
    if not isinstance(value, list):
        raise HubUnavailable("JupyterHub gave an answer that is no JSON list; look at its log.")
    return value


def _group(model: dict[str, Any]) -> HubGroup:
    users = model.get("users")
    names = tuple(str(user) for user in users) if isinstance(users, list) else ()
    return HubGroup(name=str(model.get("name", "")), users=names)


def _good(answer: _Answer, passing: frozenset[int] = PASSING) -> _Answer:
    """Raise HubUnavailable (for a passing status) or HubRefused unless the status is 2xx."""
    if 200 <= answer.status < 300:
        return answer
    reason = _reason(answer)
    if answer.status in passing:
        raise HubUnavailable(reason)
    if answer.status in {401, 403}:
        reason += " (Is the role gpucamp-service given to the service, see hub_ext/scopes.py?)"
    raise HubRefused(reason)


def _reason(answer: _Answer) -> str:
    try:
        message = json.loads(answer.body).get("message")
    except (ValueError, AttributeError):
        message = None
    return str(message or f"JupyterHub answered with status {answer.status}")
