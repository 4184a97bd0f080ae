"""Tells the gpucamp service how a run ended, with the server's own token: for the hub's metrics.

Guarantees: only the run's number and one word leave the server; what goes wrong on the way is a
line in the log, never an error, and nobody waits for it. To tell twice counts once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence

from ..errors import GpucampServerError, ServiceUnavailable
from ..service_client import ServiceClient
from .runs import Run

SECONDS = 5.0  # for one attempt
PAUSES = (5.0, 30.0)  # before the next ones, for a service that is being restarted


class Teller:
    """Tells in the background until it is closed."""

    def __init__(
        self, environ: Mapping[str, str], log: logging.Logger, pauses: Sequence[float] = PAUSES
    ) -> None:
        self._environ, self._log, self._pauses = environ, log, pauses
        self._tasks: set[asyncio.Task[None]] = set()

    def ended(self, run: Run) -> None:
        """Tell it, where there is a service. From the event loop."""
        if run.alive or not self._environ.get("GPUCAMP_SERVICE_URL"):
            return
        task = asyncio.create_task(self._tell(run))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """What is not told yet is not told."""
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _tell(self, run: Run) -> None:
        problem = ""
        for pause in (0.0, *self._pauses):
            await asyncio.sleep(pause)
            try:
                client = ServiceClient.from_environment(self._environ)
                async with asyncio.timeout(SECONDS):
                    await client.call("POST", "/ddp/ended", {"run": run.id, "ending": run.state})
                return
            except TimeoutError:
                problem = f"no answer within {SECONDS:g} s"
            except ServiceUnavailable as error:
                problem = str(error)
            except GpucampServerError as error:  # it says no
                problem = str(error)
                break
        self._log.warning("The end of run %s could not be told: %s", run.id, problem)
