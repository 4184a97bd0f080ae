"""Lets starts in one after another, so that the hub answers others meanwhile.

JupyterHub does some 50 ms of work for each start in one piece, before the spawner has its turn: who
asks, tokens, an OAuth client, commits. When fifty people press Start at once, those pieces would
follow each other, and nobody else would get an answer for seconds.

What this module guarantees: between two that pass, the event loop has looked after everybody else;
nobody waits at the turnstile longer than `PATIENCE` for each who came before.
"""

from __future__ import annotations

import asyncio

from jupyterhub.apihandlers.users import UserServerAPIHandler
from jupyterhub.handlers.pages import SpawnHandler

PATIENCE = 0.4  # seconds
LOOK = 0.005  # seconds between two looks at the loop


class Turnstile:
    """Shared by all starts of one hub."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()

    async def enter(self) -> None:
        """Return when it is this one's turn: at a moment when the event loop is free."""
        loop = asyncio.get_running_loop()
        async with self._turn:
            deadline = loop.time() + PATIENCE
            late = await _lateness()  # what the one before took
            while late > LOOK and loop.time() < deadline:
                # others have as much of the loop as that took: an answer takes several turns of it
                await asyncio.sleep(min(late, deadline - loop.time()))
                late = await _lateness()


async def _lateness() -> float:
    """How many seconds the event loop is behind."""
    loop = asyncio.get_running_loop()
    due = loop.time() + LOOK
    await asyncio.sleep(LOOK)
    return loop.time() - due


_starts = Turnstile()


class _InTurn:
    """Of a handler of JupyterHub: a request to start a server is looked at when it is its turn."""

    async def prepare(self) -> None:
        if self.request.method == "POST":  # type: ignore[attr-defined]  # of the handler's
            await _starts.enter()
        await super().prepare()  # type: ignore[misc]  # the handler's


class ServerInTurn(_InTurn, UserServerAPIHandler):
    """Starts and stops servers for JupyterHub's REST API."""


class SpawnInTurn(_InTurn, SpawnHandler):
    """The page with the form."""


# For `Authenticator.get_handlers`: an authenticator's handlers go before JupyterHub's own. With
# another one than sign_in.py's, let a subclass of it return these as well.
HANDLERS: list[tuple[str, type]] = [
    (r"/api/users/([^/]+)/server", ServerInTurn),
    (r"/api/users/([^/]+)/servers/([^/]*)", ServerInTurn),
    (r"/spawn", SpawnInTurn),
    (r"/spawn/([^/]+)", SpawnInTurn),
    (r"/spawn/([^/]+)/([^/]+)", SpawnInTurn),
]
