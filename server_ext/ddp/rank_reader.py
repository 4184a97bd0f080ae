"""What each rank of a run uses now, from /proc.

Guarantees: only processes that the run's record names are read, each as the one that it was (pid
and start time); one that ends meanwhile is left out; nothing raises. A rank is the process that
torchrun started and what that started (DataLoader workers): their loads are added. Their memory,
too, without what they share: a page that a worker has from its parent by fork counts twice.
"""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from .gpu_watch import Gpu
from .process import Identity
from .usage import RankNow, state_of


@dataclass(frozen=True)
class Reading:
    """A process at one moment. seconds: of CPU, so far; sizes in bytes."""

    pid: int
    started: int
    parent: int
    letter: str
    seconds: float
    resident: int
    shared: int
    rank: int | None

    @property
    def key(self) -> tuple[int, int]:
        return self.pid, self.started


class RankReader:
    """Remembers how much CPU time each process had used at the last reading."""

    def __init__(self) -> None:
        self._gone: set[tuple[int, int]] = set()
        self._seconds: dict[tuple[int, int], float] = {}
        self._read_at = 0.0

    def read(
        self, members: Collection[Identity], agent: Identity | None, gpus: Sequence[Gpu] = ()
    ) -> list[RankNow]:
        """The ranks that are alive, in order. Blocking: reads two small files a process."""
        self._gone &= {member.key for member in members}
        readings = []
        for member in members:
            if member.key in self._gone:
                continue
            reading = read_process(member)
            if reading is None:
                self._gone.add(member.key)
            else:
                readings.append(reading)
        now = time.monotonic()
        elapsed, self._read_at = now - self._read_at, now
        loads = {
            one.key: max(0.0, one.seconds - self._seconds[one.key]) / elapsed * 100
            for one in readings
            if one.key in self._seconds and elapsed > 0
        }
        self._seconds = {one.key: one.seconds for one in readings}
        return ranks_of(readings, loads, None if agent is None else agent.pid, gpus)


def read_process(member: Identity) -> Reading | None:
    """A process; None where it has gone, or only its remains are left. Blocking."""
    try:
        with open(f"/proc/{member.pid}/stat", "rb") as file:
            text = file.read()
        with open(f"/proc/{member.pid}/statm", "rb") as file:
            pages = file.read().split()
    except OSError:
        return None
    # the name, in brackets, may contain anything
    fields = text[text.rfind(b")") + 2 :].split()
    if len(fields) < 20 or len(pages) < 3 or fields[0] in (b"Z", b"X", b"x"):
        return None
    if int(fields[19]) != member.started:
        return None
    page = os.sysconf("SC_PAGE_SIZE")
    return Reading(
        pid=member.pid,
        started=member.started,
        parent=int(fields[1]),
        letter=fields[0].decode("ascii", "replace"),
        seconds=(int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"),
        resident=int(pages[1]) * page,
        shared=int(pages[2]) * page,
        rank=member.rank,
    )


def ranks_of(
    readings: Collection[Reading],
    loads: Mapping[tuple[int, int], float],
    agent: int | None,
    gpus: Sequence[Gpu] = (),
) -> list[RankNow]:
    """Puts processes together to ranks. loads: in percent of a core, of those read before. Pure."""
    by_pid = {one.pid: one for one in readings}
    first: dict[int, Reading] = {}
    for one in readings:
        parent = by_pid.get(one.parent)
        # torchrun (or what started it) has no rank; a worker's parent has one; an orphan's is gone
        if one.rank is None or parent is None or parent.rank is not None:
            continue
        before = first.get(one.rank)
        if before is None or _order(one, agent) < _order(before, agent):
            first[one.rank] = one
    families: dict[int, list[Reading]] = {one.pid: [one] for one in first.values()}
    for one in readings:
        ancestor = _ancestor(one, by_pid, families)
        if ancestor is not None and ancestor != one.pid:
            families[ancestor].append(one)
    found = []
    for rank in sorted(first):
        main = first[rank]
        family = families[main.pid]
        known = [loads[one.key] for one in family if one.key in loads]
        load = round(sum(known), 1) if main.key in loads else None
        device, gpu_memory = _on_gpu({one.pid for one in family}, gpus)
        found.append(
            RankNow(
                rank=rank,
                pid=main.pid,
                state=state_of(main.letter, load),
                cpu_percent=load,
                memory_bytes=main.resident
                + sum(max(0, one.resident - one.shared) for one in family if one is not main),
                gpu_memory_bytes=gpu_memory,
                device=device,
            )
        )
    return found


def _order(one: Reading, agent: int | None) -> tuple[bool, int]:
    """torchrun's own child first; of two the later: the earlier is of before a restart."""
    return one.parent != agent, -one.started


def _ancestor(
    one: Reading, by_pid: Mapping[int, Reading], families: Mapping[int, object]
) -> int | None:
    pid, steps = one.pid, 0
    while pid not in families:
        steps += 1
        if pid not in by_pid or steps > 1000:
            return None
        pid = by_pid[pid].parent
    return pid


def _on_gpu(pids: Collection[int], gpus: Sequence[Gpu]) -> tuple[str | None, int | None]:
    """The device on which these processes have most memory, and how much they have on all."""
    sizes: dict[str, int] = {}
    for gpu in gpus:
        if gpu.processes is None or not _pids_are_ours(gpu.processes):
            continue
        mine = [size for pid, size in gpu.processes.items() if pid in pids and size is not None]
        if mine:
            sizes[gpu.device.uuid] = sum(mine)
    if not sizes:
        return None, None
    return max(sizes, key=lambda uuid: sizes[uuid]), sum(sizes.values())


def _pids_are_ours(pids: Collection[int]) -> bool:
    """Whether NVML speaks of this container's pids: where it tells the host's, one that is the same
    number as a rank's here is someone else's, and mostly others of them are no pid here at all.
    """
    return all(os.path.exists(f"/proc/{pid}") for pid in pids)
