"""Work that nobody watches is activity: a DDP run, packages that are installed, a busy kernel.

JupyterHub's idle culler goes by the server's last activity, which Jupyter Server takes from
requests and from what kernels say. A run has no request, least of all one that `gpucamp-ddp`
started in a terminal, and a cell may compute for hours without a word.

Guarantees: while a run of this container is alive or a kernel is busy, the server counts as active,
to EVERY_SECONDS; when neither is, nothing is noted, so an idle server stays one; a look that fails
ends neither the looking nor the server.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

EVERY_SECONDS = 30.0
NAME = "gpucamp"  # in the server's last_activity_times
TASK = "gpucamp_activity_task"  # in its settings


class Kernels(Protocol):
    """What is used of Jupyter Server's kernel manager."""

    def list_kernels(self) -> list[dict[str, Any]]:
        """Models of the running kernels."""


Runs = Callable[[], Awaitable[Sequence[object]]]


def start(
    settings: dict[str, Any], runs: Runs, kernels: Kernels, log: logging.Logger | Any
) -> None:
    """Begin to look. `runs` gives the runs that are alive, and whatever else is work."""
    settings[TASK] = asyncio.create_task(_watch(settings, runs, kernels, log))


async def stop(settings: dict[str, Any]) -> None:
    """Stop looking."""
    task = settings.pop(TASK, None)
    if task is not None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _watch(settings: dict[str, Any], runs: Runs, kernels: Kernels, log: Any) -> None:
    while True:
        await asyncio.sleep(EVERY_SECONDS)
        try:
            if await _works(runs, kernels):
                settings["last_activity_times"][NAME] = datetime.now(UTC)
        except Exception:
            log.exception("Whether the server is idle could not be found out")


async def _works(runs: Runs, kernels: Kernels) -> bool:
    if any(kernel.get("execution_state") == "busy" for kernel in kernels.list_kernels()):
        return True
    return bool(await runs())
