"""Lets starts in one after another, so that the hub answers others meanwhile.

JupyterHub does about 50 ms of work for each start in one piece: tokens, an OAuth client, commits.
When fifty people press Start at once, those pieces would follow each other, and nobody else would
get an answer for seconds.

What this module guarantees: between two that pass, the event loop has looked after everybody else;
nobody waits at the turnstile longer than `PATIENCE` for each who came before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from inspect import isawaitable
from typing import Any

from sqlalchemy.orm import object_session

PATIENCE = 0.1  # seconds
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
            while True:
                asleep_at = loop.time()
                await asyncio.sleep(LOOK)
                if loop.time() - asleep_at < 2 * LOOK or loop.time() >= deadline:
                    return


_starts = Turnstile()


def in_turn(scopes: object) -> Callable[[Any], Awaitable[Any]]:
    """`Spawner.server_token_scopes` as a callable at which starts wait for their turn.

    JupyterHub asks for them before the work that keeps the hub busy; nothing else that it asks a
    spawner comes so early.
    """

    async def scopes_in_turn(spawner: Any) -> Any:
        # the end of another request rolls back what is not committed: here the new server's row
        row = getattr(spawner, "orm_spawner", None)
        session = object_session(row) if row is not None else None
        if session is not None:
            session.commit()
        await _starts.enter()
        given = scopes(spawner) if callable(scopes) else scopes
        return await given if isawaitable(given) else given

    return scopes_in_turn
