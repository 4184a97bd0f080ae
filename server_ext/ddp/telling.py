"""Tells the gpucamp service how runs do, with the server's own token: for the class and metrics.

Guarantees: only a run's number, one word and counts leave the server; of a run one thing is told
at a time and what is newest last, so that its end is the last word; what goes wrong on the way is
a line in the log, never an error, and nobody waits for it. To tell twice does no harm.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence

from ..errors import GpucampServerError, ServiceUnavailable
from ..service_client import ServiceClient
from .runs import STARTING, Run

SECONDS = 5.0  # for one attempt
PAUSES = (5.0, 30.0, 120.0, 600.0)  # before the next ones, for a service that is away

Told = dict[str, object]


class Teller:
    """Tells in the background until it is closed."""

    def __init__(
        self, environ: Mapping[str, str], log: logging.Logger, pauses: Sequence[float] = PAUSES
    ) -> None:
        self._environ, self._log, self._pauses = environ, log, pauses
        self._newest: dict[str, Told] = {}  # of runs that go on, and of those not told yet
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def changed(self, run: Run) -> None:
        """Tell it, where there is a service and anything new. From the event loop."""
        if run.state == STARTING or not self._environ.get("GPUCAMP_SERVICE_URL"):
            return
        told = what_is_told(run)
        if self._newest.get(run.id) == told:
            return
        self._newest[run.id] = told
        if run.id not in self._tasks:
            self._tasks[run.id] = asyncio.create_task(self._tell(run.id))

    async def flush(self, seconds: float) -> None:
        """Wait until all is told, for so long."""
        if self._tasks:
            await asyncio.wait(self._tasks.values(), timeout=seconds)

    async def close(self) -> None:
        """What is not told yet is not told."""
        tasks = tuple(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _tell(self, run_id: str) -> None:
        try:
            told = None
            while told is not self._newest[run_id]:
                told = self._newest[run_id]
                await self._try(run_id)
            if told["state"] != "running":
                del self._newest[run_id]
        finally:
            del self._tasks[run_id]

    async def _try(self, run_id: str) -> None:
        """Tell what is newest, until it is told or there is no use in trying again."""
        problem = ""
        for pause in (0.0, *self._pauses):
            await asyncio.sleep(pause)
            try:
                client = ServiceClient.from_environment(self._environ)
                async with asyncio.timeout(SECONDS):
                    await client.call("POST", "/ddp/runs", self._newest[run_id])
                return
            except TimeoutError:
                problem = f"no answer within {SECONDS:g} s"
            except ServiceUnavailable as error:
                problem = str(error)
            except GpucampServerError as error:  # it says no
                problem = str(error)
                break
        self._log.warning("How run %s does could not be told: %s", run_id, problem)


def what_is_told(run: Run) -> Told:
    """What leaves the server about a run: nothing that its user wrote."""
    told: Told = {"run": run.id, "state": run.state if not run.alive else "running"}
    told["ranks"] = run.processes
    rank = None
    if run.alive and run.hang is not None:
        told["hangs"] = True
        rank = run.hang.rank
    elif run.diagnosis is not None:
        rank = run.diagnosis.rank
    if rank is not None:
        told["rank"] = rank
    return told
