"""Waits until a new server answers, and notices when it never will.

What this module guarantees: it returns within one interval (50 ms by default) of the server's first
answer; it raises as soon as the Engine says that the container stopped or is gone, with how it
ended; an Engine that does not answer is no reason to give up before the time limit.

The hub's own check backs off to seconds, which more than doubled the time to a usable server.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from tornado.httpclient import AsyncHTTPClient, HTTPClientError

from .engine import ContainerState, Presence

LOOK_AT_CONTAINER_EVERY = 1.0  # seconds; an answer of the server is looked for far more often


class ServerStopped(Exception):
    """The container stopped, or vanished, before the server answered."""

    def __init__(self, state: ContainerState) -> None:
        super().__init__(f"the container is {state.presence}")
        self.state = state


async def wait_until_ready(
    url: str,
    look: Callable[[], Awaitable[ContainerState]],
    *,
    interval: float = 0.05,
    limit: float = 60,
) -> None:
    """Return when `url` answers with any status below 500.

    Args:
        url: an address that needs no sign-in, such as <server>/api.
        look: asks the Engine about the container.
        interval: seconds between two tries.
        limit: seconds after which TimeoutError is raised.

    Raises ServerStopped, TimeoutError.
    """
    loop = asyncio.get_running_loop()
    client = AsyncHTTPClient(force_instance=True, max_clients=2)
    next_look = loop.time() + LOOK_AT_CONTAINER_EVERY
    try:
        async with asyncio.timeout(limit):
            while not await _answers(client, url):
                if loop.time() >= next_look:
                    state = await look()
                    if state.presence in (Presence.STOPPED, Presence.GONE):
                        raise ServerStopped(state)
                    next_look = loop.time() + LOOK_AT_CONTAINER_EVERY
                await asyncio.sleep(interval)
    finally:
        client.close()


async def _answers(client: AsyncHTTPClient, url: str) -> bool:
    try:
        await client.fetch(url, follow_redirects=False, connect_timeout=2, request_timeout=5)
    except HTTPClientError as error:
        return error.code < 500  # 599 is tornado's own: no answer in time
    except OSError:
        return False
    return True
