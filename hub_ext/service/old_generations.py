"""Deletes the volumes of generations that nobody can go back to any more."""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol

from ..errors import GpucampError
from ..ledger import Ledger

_log = logging.getLogger(__name__)


class Volumes(Protocol):
    """What this module asks of the Docker Engine. Raises EngineUnavailable, EngineRefused."""

    async def remove_environment(self, user: str, server: str, generation: int) -> None: ...


async def delete_expired(ledger: Ledger, engine: Volumes, user: str, server: str) -> None:
    """Best effort: what cannot be deleted now is tried again by the next caller."""
    try:
        for generation in await asyncio.to_thread(ledger.expired_generations, user, server):
            await engine.remove_environment(user, server, generation)
            await asyncio.to_thread(ledger.forget_generation, user, server, generation)
    except GpucampError as error:
        _log.warning("old environments of %s/%s stay: %s", user, server, error)
