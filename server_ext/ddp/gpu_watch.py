"""The GPUs as NVML shows them while a run goes on.

Guarantees: nothing waits for NVML (it is asked in a process of its own; `latest` gives what that
last said, or nothing when it is silent); the process is there only while someone asks, ends with
this one, and is not started again and again where it fails or where there is no GPU; its output is
bounded. Which process is which the host tells (host_memory.py); else NVML, where its pids are those
of this container.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..doctor.probing import ANSWER_LIMIT, PARTIAL, PROBES_DIR, end_group, let_go, start_group
from ..doctor.secret_variables import without_secrets
from .host_memory import HostMemory
from .usage import MAXIMUM_DEVICES, Device

EVERY_SECONDS = 2.0
FRESH_SECONDS = 8.0  # what is older is not true any more
SILENCE_SECONDS = 20.0  # a driver call that hangs
UNASKED_SECONDS = 15.0
RETRY_SECONDS = 60.0


@dataclass(frozen=True)
class Gpu:
    """A device and the memory of its processes, bytes by pid; None: NVML does not tell."""

    device: Device
    processes: Mapping[int, int | None] | None


def read_gpus(facts: Mapping[str, Any], leased: Collection[str] = ()) -> tuple[Gpu, ...]:
    """What one line of the probe says of the leased devices; of all where none of them is there."""
    devices = facts.get("devices")
    found = []
    for one in devices if isinstance(devices, list) else ():
        uuid = one.get("uuid") if isinstance(one, dict) else None
        if not isinstance(uuid, str) or not uuid:
            continue
        name, memory = one.get("name"), one.get("memory")
        memory = memory if isinstance(memory, dict) else {}
        device = Device(
            uuid,
            name if isinstance(name, str) else None,
            _integer(memory.get("total")),
            _integer(memory.get("used")),
            _integer(one.get("utilization")),
        )
        processes = one.get("processes")
        found.append(Gpu(device, _sizes(processes) if isinstance(processes, list) else None))
    mine = [gpu for gpu in found if gpu.device.uuid in leased]
    return tuple((mine or found)[:MAXIMUM_DEVICES])


class GpuWatch:
    """See the module. For one event loop."""

    def __init__(
        self, log: logging.Logger | None = None, environ: Mapping[str, str] = os.environ
    ) -> None:
        """environ: of the server, for what the host tells."""
        self._log = log or logging.getLogger(__name__)
        self._task: asyncio.Task[None] | None = None
        self._host = HostMemory(environ)
        self._gpus: tuple[Gpu, ...] = ()
        self._told = self._asked = self._again = 0.0

    def latest(self) -> tuple[Gpu, ...]:
        """The devices, at most FRESH_SECONDS old; () where that is not known."""
        now = self._asked = time.monotonic()
        if (self._task is None or self._task.done()) and now >= self._again:
            self._again = now + RETRY_SECONDS
            self._task = asyncio.create_task(self._watch())
        if now - self._told >= FRESH_SECONDS or not self._gpus:
            return ()
        host = self._host.latest()
        return tuple(
            replace(gpu, processes=host.get(gpu.device.uuid, gpu.processes)) for gpu in self._gpus
        )

    async def close(self) -> None:
        """Ends the process."""
        await self._host.close()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _watch(self) -> None:
        leased = [d for d in os.environ.get("GPUCAMP_DEVICES", "").split(",") if d]
        script = [str(PROBES_DIR / "run_probe.py"), "nvml", "watch", str(EVERY_SECONDS)]
        try:
            process = await start_group(
                [sys.executable, "-I", *script],
                without_secrets(os.environ),
                "/",
                stderr=asyncio.subprocess.DEVNULL,
            )
        except (OSError, ValueError, RuntimeError) as error:  # the last: no room for a thread
            self._log.warning("The GPUs cannot be watched: %s", error)
            return
        assert process.stdout is not None  # noqa: S101 - a pipe was asked for
        output = bytearray()
        try:
            while time.monotonic() - self._asked < UNASKED_SECONDS:
                async with asyncio.timeout(SILENCE_SECONDS):
                    chunk = await process.stdout.read(65536)
                output += chunk
                if not chunk or len(output) > ANSWER_LIMIT:
                    return
                whole, end, rest = bytes(output).rpartition(b"\n")
                if end:
                    output = bytearray(rest)
                    self._take(whole.rpartition(b"\n")[2], leased)
            self._again = 0.0  # nothing is wrong: a next run is watched at once
        except TimeoutError:
            self._log.warning("NVML gives no answer: the GPUs are not watched")
        finally:
            await end_group(process)
            let_go(process)

    def _take(self, line: bytes, leased: Collection[str]) -> None:
        _, mark, answer = line.partition(PARTIAL)
        try:
            facts = json.loads(answer) if mark else None
        except (ValueError, RecursionError):
            return
        if isinstance(facts, dict) and isinstance(facts.get("devices"), list):
            self._gpus, self._told = read_gpus(facts, leased), time.monotonic()


def _sizes(pairs: list[Any]) -> dict[int, int | None]:
    found: dict[int, int | None] = {}
    for pair in pairs:
        if isinstance(pair, list) and len(pair) == 2 and type(pair[0]) is int:
            found[pair[0]] = _integer(pair[1])
    return found


def _integer(value: object) -> int | None:
    return value if type(value) is int and value >= 0 else None
