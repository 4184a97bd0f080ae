"""What the programs of containers do on this host's processors, for practice devices to show.

Guarantees: what is told is measured, by /proc of this host; of a container without a process there
nothing is told (its Engine may be elsewhere). A look blocks for milliseconds and raises nothing.
For one thread.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from .attribution import containers_of

PYTHON_BYTES = 150 * 2**20  # an interpreter and its libraries, which no GPU would hold
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Load:
    """cores: processors at work since the last look; memory_bytes: of data, as far as known."""

    cores: float
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class _Seen:
    began: str  # clock ticks after boot: a PID that was given again is another process
    worked: int  # clock ticks
    at: float


class PracticeLoad:
    """Remembers the last look: work is what has been done since."""

    def __init__(
        self, proc: Path = Path("/proc"), clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._proc = proc
        self._clock = clock
        self._seen: dict[str, _Seen] = {}

    def look(self, containers: Collection[str]) -> dict[str, Load]:
        """By id, those of these containers that have a process here."""
        before, self._seen = self._seen, {}
        found: dict[str, Load] = {}
        if not containers:
            return found
        for pid in _numbers(self._proc):
            folder = self._proc / pid
            around = containers_of(_read(folder / "cgroup"))
            container = next((each for each in around if each in containers), None)
            if container is None:
                continue
            known = found.get(container, Load(0.0, 0))
            cores = self._cores(pid, _read(folder / "stat"), before.get(pid))
            data = max(0, _anonymous(_read(folder / "status")) - PYTHON_BYTES)
            found[container] = Load(known.cores + cores, known.memory_bytes + data)
        return found

    def _cores(self, pid: str, stat: str, before: _Seen | None) -> float:
        # the second field is the program's name, which may hold blanks and brackets
        fields = stat.rpartition(")")[2].split()
        if len(fields) < 20 or not (fields[11] + fields[12]).isdigit():
            return 0.0  # it has gone
        seen = _Seen(fields[19], int(fields[11]) + int(fields[12]), self._clock())
        self._seen[pid] = seen
        if before is None or before.began != seen.began or seen.at <= before.at:
            return 0.0
        return (seen.worked - before.worked) / _TICKS / (seen.at - before.at)


def _numbers(proc: Path) -> list[str]:
    try:
        return [name for name in os.listdir(proc) if name.isdigit()]
    except OSError:
        return []


def _anonymous(status: str) -> int:
    """Bytes that a process wrote itself; 0 where it is not told."""
    for line in status.splitlines():
        name, _, value = line.partition(":")
        if name == "RssAnon" and value.split()[:1] and value.split()[0].isdigit():
            return int(value.split()[0]) * 1024
    return 0


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
