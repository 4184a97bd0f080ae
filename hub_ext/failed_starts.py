"""Counts starts that ended before the server answered, so that a reset can be offered.

Guarantees: the count is in the ledger and outlives the hub; a ledger that does not answer never
hides why the start failed.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime
from urllib.parse import quote

from .errors import GpucampError
from .failures import Trouble
from .ledger import Ledger

_log = logging.getLogger(__name__)


async def count(
    ledger: Ledger, user: str, server: str, generation: int, hub_base_url: str
) -> Trouble:
    """One more of this server in a row; with the page where it can be reset."""
    page = f"{hub_base_url.removesuffix('hub/')}services/gpucamp/users/{quote(user, safe='')}"
    page += f"/servers/{quote(server, safe='')}" if server else "/server"
    try:
        times = await asyncio.to_thread(
            ledger.add_failed_start, user, server, generation, datetime.now(UTC)
        )
    except GpucampError as error:
        _log.error("A failed start of %s/%s is not counted: %s", user, server, error)
        return Trouble(1, page)
    return Trouble(times, page)
