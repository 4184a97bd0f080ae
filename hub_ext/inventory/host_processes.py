"""What /proc of the host says of processes that NVML names. Blocks briefly; raises nothing.

Guarantee: what is told of a PID is of the process that had it when NVML was asked. A PID that is
gone, or that was given to another process since, is a process of which nothing is known.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path

from ..models import DeviceProcess
from .attribution import containers_of, pids_of, start_ticks

_MOST_CHARACTERS = 64 * 1024


def ticks_now() -> int:
    """Clock ticks after boot, as /proc counts the starts of processes."""
    return int(time.clock_gettime(time.CLOCK_BOOTTIME) * os.sysconf("SC_CLK_TCK"))


def locate(
    found: Iterable[tuple[int, int | None]], asked: int, proc: Path = Path("/proc")
) -> tuple[DeviceProcess, ...]:
    """The processes of `found`, (PID, bytes or None), that NVML told after `asked` (ticks)."""
    return tuple(_locate(pid, memory, asked, proc / str(pid)) for pid, memory in found)


def _locate(pid: int, memory: int | None, asked: int, folder: Path) -> DeviceProcess:
    containers = containers_of(_read(folder / "cgroup"))
    pids = pids_of(_read(folder / "status"))
    # last: a process that is this old has been this PID all the time
    began = start_ticks(_read(folder / "stat"))
    if began is None or began > asked:
        return DeviceProcess(pid, memory)
    return DeviceProcess(pid, memory, containers, pids)


def _read(path: Path) -> str:
    try:
        with path.open(errors="replace") as file:
            return file.read(_MOST_CHARACTERS)
    except OSError:
        return ""
