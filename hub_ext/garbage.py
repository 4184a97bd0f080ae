"""Python's garbage collector in the hub and the service.

Each of them is some 300,000 objects of libraries and tables. A full collection, which happens every
few minutes or in the middle of many starts, looks at all of them, and the event loop stands still
meanwhile: for 0.4 s on a slow host (`make storm`). They stay until the process ends, so there is
nothing to find.

What this module guarantees: what there is when the process has started is looked at once more, then
no longer; what comes later is collected as ever.
"""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the service does without
    from jupyterhub.app import JupyterHub


def pass_over_what_is_there() -> None:
    """Collect, and let later collections pass over what is left."""
    gc.collect()
    gc.freeze()


def pass_over_when_started(hub: JupyterHub) -> None:
    """The same as soon as the hub has started. Call it while it reads its configuration."""

    def ended(started: asyncio.Future[None]) -> None:
        if not started.cancelled() and started.exception() is None:
            pass_over_what_is_there()

    start: asyncio.Future[None] = hub._start_future
    start.add_done_callback(ended)
