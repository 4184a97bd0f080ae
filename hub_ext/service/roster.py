"""Who is in which group, as the hub says, kept for some seconds.

Guarantees: however many pages are open, the hub is asked at most once in KEPT for all groups; an
answer that fails is not kept, and everybody who waited for it is told so. Rights are not judged by
this: a caller's scopes are.
"""

from __future__ import annotations

import asyncio
import time
from typing import Protocol

from .hub_api import HubGroup

KEPT = 10.0  # seconds: somebody who joins a class is there at the next look but one


class Groups(Protocol):
    """What this module asks of JupyterHub (hub_api.py)."""

    async def groups(self) -> tuple[HubGroup, ...]: ...


class Roster:
    """Lives in one event loop."""

    def __init__(self, hub: Groups) -> None:
        self._hub = hub
        self._kept: tuple[HubGroup, ...] = ()
        self._until = 0.0
        self._asking = asyncio.Lock()

    async def groups(self) -> tuple[HubGroup, ...]:
        """All groups, by name. Raises HubUnavailable, HubRefused."""
        async with self._asking:
            if time.monotonic() >= self._until:
                self._kept = await self._hub.groups()
                self._until = time.monotonic() + KEPT
            return self._kept
