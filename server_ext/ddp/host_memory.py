"""Which process holds how much GPU memory, by the host's word, while a run goes on.

In a container NVML mostly tells the host's pids, which are nobody's here; the gpucamp service knows
which of them are this server's, by the pids that they have here.

Guarantees: nothing waits for the service; it is asked every EVERY_SECONDS at most, only while
someone asks here; what is older than FRESH_SECONDS, and a service that is silent, is "not known".
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

from ..doctor import host_view
from ..doctor.facts import Facts, ProbeResult, integer_of, text_of

EVERY_SECONDS = 10.0
FRESH_SECONDS = 30.0
RETRY_SECONDS = 60.0  # after no answer

# bytes by pid of this container, by UUID of the device
Holders = Mapping[str, Mapping[int, int | None]]


class HostMemory:
    """See the module. For one event loop."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._task: asyncio.Task[None] | None = None
        self._holders: Holders = {}
        self._told = self._again = float("-inf")

    def latest(self) -> Holders:
        """What the service said last; {} where that is not known."""
        now = time.monotonic()
        if (self._task is None or self._task.done()) and now >= self._again:
            self._again = now + EVERY_SECONDS
            self._task = asyncio.create_task(self._ask())
        return self._holders if now - self._told < FRESH_SECONDS else {}

    async def close(self) -> None:
        """Ends a question that is open."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _ask(self) -> None:
        answer = await host_view.ask(self._environ)
        if answer.failure is not None or not answer.value or not answer.value.get("asked"):
            self._again = time.monotonic() + RETRY_SECONDS
            return
        self._holders, self._told = holders_of(answer), time.monotonic()


def holders_of(host: ProbeResult) -> dict[str, dict[int, int | None]]:
    """Of this server's own processes; a device whose holders are not known is left out. Pure."""
    found: dict[str, dict[int, int | None]] = {}
    for device in Facts({"host": host}).objects("host", "devices"):
        holders = device.get("holders")
        if not isinstance(holders, list):
            continue
        mine = found[text_of(device, "uuid")] = {}
        for holder in holders:
            if not isinstance(holder, Mapping):
                continue
            pid = holder.get("pid")
            if text_of(holder, "holder") == "own" and type(pid) is int:
                mine[pid] = integer_of(holder, "memory_bytes")
    return found
