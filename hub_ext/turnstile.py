"""Lets starts in one after another, so that the hub answers others meanwhile.

JupyterHub does some 50 ms of work for each start in one piece, before the spawner has its turn (who
asks, tokens, an OAuth client, commits), and as much in smaller ones later. When fifty people press
Start at once, those pieces would follow each other, and nobody else would get an answer for
seconds: an answer takes several turns of the event loop.

What this module guarantees: of several starts at once one is let in after the other, in order, and
only while the event loop has half of its time for others. Nobody waits at the turnstile longer than
`PATIENCE` for each who came before; a start that comes alone does not wait.
"""

from __future__ import annotations

import asyncio

from jupyterhub.apihandlers.users import UserServerAPIHandler
from jupyterhub.handlers.pages import SpawnHandler

PATIENCE = 1.0  # seconds
ALONE = 1.0  # seconds since the one before
LOOK = 0.005  # seconds between two looks at the loop
LOOKS = 10


class Turnstile:
    """Shared by all starts of one hub."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()
        self._last = float("-inf")  # when somebody was let in, by the loop's clock

    async def enter(self) -> None:
        """Return when it is this one's turn."""
        loop = asyncio.get_running_loop()
        async with self._turn:
            if loop.time() < self._last + ALONE:
                deadline = loop.time() + PATIENCE
                while await _is_busy() and loop.time() < deadline:
                    pass
            self._last = loop.time()


async def _is_busy() -> bool:
    """Whether others have less than half of the event loop's time, as some looks at it tell."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    for _ in range(LOOKS):
        await asyncio.sleep(LOOK)
    return loop.time() - began > 2 * LOOKS * LOOK


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
