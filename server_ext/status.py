"""GET gpucamp/status: what this server has. Cheap to poll.

Guarantees: never fails because of a GPU; never blocks the event loop (NVML is asked in a process
of its own with a time limit, files are read in a thread); asked at most once every few seconds
however many tabs poll, and far less often while NVML hangs; polling does not count as activity,
so the culler still sees an idle server.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Mapping
from typing import Any

from jupyter_server.auth.decorator import authorized
from tornado import web

from .doctor.facts import Facts, ProbeResult, integer_of, text_of
from .doctor.kernel import without_secrets
from .doctor.probes import resources
from .doctor.probing import Probe, run_probe
from .handlers import GpucampHandler

NVML_SECONDS = 5.0
FRESH_SECONDS = 4.0
# after a failure; a process stuck in a driver call cannot be killed, so do not collect them
RETRY_SECONDS = 60.0


class DeviceReadings:
    """The last answer of NVML, shared by all requests; one question at a time."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._result: ProbeResult | None = None
        self._until = 0.0

    async def read(self) -> ProbeResult:
        """A reading of at most FRESH_SECONDS ago."""
        async with self._lock:
            if self._result is None or time.monotonic() >= self._until:
                self._result = await run_probe(
                    Probe("nvml", "nvml", NVML_SECONDS),
                    [sys.executable, "-I"],
                    without_secrets(os.environ),
                    "/",
                )
                keep = RETRY_SECONDS if self._result.failure else FRESH_SECONDS
                self._until = time.monotonic() + keep
            return self._result


def devices_of(nvml: ProbeResult) -> list[dict[str, Any]]:
    """NVML's facts as the status shows them; devices that give an error are left to the doctor."""
    facts = Facts({"nvml": nvml})
    found = []
    for device in facts.objects("nvml", "devices"):
        memory = device.get("memory")
        memory = memory if isinstance(memory, Mapping) else {}
        if text_of(device, "uuid"):
            found.append(
                {
                    "uuid": text_of(device, "uuid"),
                    "name": text_of(device, "name") or None,
                    "memory_bytes": integer_of(memory, "total"),
                    "memory_used_bytes": integer_of(memory, "used"),
                    "utilization_percent": integer_of(device, "utilization"),
                }
            )
    return found


def local_status(environ: Mapping[str, str]) -> dict[str, Any]:
    """Everything but the devices; reads files, so call it in a thread."""
    shm = resources.filesystem("/dev/shm")  # noqa: S108 - asked about, not written to
    return {
        "user": environ.get("JUPYTERHUB_USER"),
        "server": environ.get("JUPYTERHUB_SERVER_NAME", ""),
        "image": environ.get("GPUCAMP_IMAGE"),
        "generation": _integer(environ.get("GPUCAMP_GENERATION")),
        "simulated": environ.get("GPUCAMP_SIMULATED") == "1",
        "cpus": resources.cpu_quota() or float(len(os.sched_getaffinity(0))),
        "memory_bytes": resources.memory()["limit_bytes"] or _installed_memory(),
        "shm_bytes": shm.get("bytes"),
        "shm_free_bytes": shm.get("free_bytes"),
        "service": bool(environ.get("GPUCAMP_SERVICE_URL")),
    }


def _integer(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdigit() else None


def _installed_memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


class StatusHandler(GpucampHandler):
    """The server, its devices and its limits."""

    _track_activity = False

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """See the module."""
        readings = self.settings.setdefault("gpucamp_device_readings", DeviceReadings())
        local, nvml = await asyncio.gather(
            asyncio.to_thread(local_status, os.environ), readings.read()
        )
        self.reply({**local, "devices": devices_of(nvml)})


handlers = [(r"/gpucamp/status", StatusHandler)]
