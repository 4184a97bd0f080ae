"""What the processes of a run do, as /proc tells: blocking reads, and since when each rank rests.

Guarantees: a process that ends meanwhile, or that may not be read, counts as nothing; a rank's
numbers are its own and those of all its descendants, also of children that it has waited for;
`Rest` is pure, and calls nobody at rest before `quiet` seconds without work are over.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from .process import Identity

# A rank that waits in gloo uses nothing, and a watchdog or a progress bar's thread below 2 %.
CPU_AT_WORK = 0.05  # of a core
BYTES_AT_WORK = 1024.0  # a second, read or written by calls or from a disk
HELPERS_AT_WORK = 0.2  # of a core, by what is below no rank; torchrun itself is left out
# a page of JupyterLab that polls moves less; a download of a data set more
NETWORK_AT_WORK = 16 * 1024.0  # bytes a second
EXCHANGE = 64 * 1024.0  # bytes a second over lo: gloo's; torchrun's own heartbeats move far less

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class RankActivity:
    """A rank and its descendants. cpu: seconds so far; moved: bytes so far; state: its letter in
    /proc; channel: what it waits for in the kernel.
    """

    identity: Identity
    cpu: float
    moved: float
    state: str
    channel: str


@dataclass(frozen=True)
class Snapshot:
    """The run at one moment. at: monotonic seconds; the numbers are totals so far.

    output: bytes of all its logs; outside, inside: bytes over the network and over lo.
    """

    at: float
    ranks: Mapping[int, RankActivity]
    helpers: float
    output: int
    outside: int
    inside: int


@dataclass
class Rest:
    """Since when nothing was printed, and each rank did nothing. Times: of the snapshots."""

    quiet: float
    last_output: float = 0.0
    last_work: dict[int, float] = field(default_factory=dict)
    last_helpers: float = float("-inf")
    last_network: float = float("-inf")
    exchange: bool = False
    _last: Snapshot | None = None

    @property
    def latest(self) -> Snapshot | None:
        """The last snapshot."""
        return self._last

    def add(self, now: Snapshot) -> None:
        """Take the next snapshot into account."""
        last, self._last = self._last, now
        if last is None:
            self.last_output = now.at
            self.last_work = dict.fromkeys(now.ranks, now.at)
            return
        seconds = max(now.at - last.at, 1e-3)
        if now.output != last.output:
            self.last_output = now.at
        if now.helpers - last.helpers >= HELPERS_AT_WORK * seconds:
            self.last_helpers = now.at
        if now.outside - last.outside >= NETWORK_AT_WORK * seconds:
            self.last_network = now.at
        self.exchange = now.inside - last.inside >= EXCHANGE * seconds
        for rank, one in now.ranks.items():
            before = last.ranks.get(rank)
            if (
                before is None
                or before.identity.key != one.identity.key
                or one.cpu - before.cpu >= CPU_AT_WORK * seconds
                or one.moved - before.moved >= BYTES_AT_WORK * seconds
            ):
                self.last_work[rank] = now.at
        if set(now.ranks) != set(last.ranks):
            # one has come or gone: what the others wait for is something else now
            self.last_output = now.at
        for rank in set(self.last_work) - set(now.ranks):
            del self.last_work[rank]

    def at_work(self, rank: int) -> bool:
        """Whether a rank did anything in the last `quiet` seconds."""
        return self._last is not None and (
            self._last.at - self.last_work.get(rank, self._last.at) < self.quiet
        )

    @property
    def silent(self) -> bool:
        """Whether nothing was printed for that long, there are ranks, and no helper works."""
        now = self._last
        return now is not None and bool(now.ranks) and now.at - self._busy_until >= self.quiet

    @property
    def all_rest(self) -> bool:
        """Whether no rank is at work."""
        return self._last is not None and not any(map(self.at_work, self._last.ranks))

    @property
    def network(self) -> bool:
        """Whether the container sent or received much in that time."""
        return self._last is not None and self._last.at - self.last_network < self.quiet

    @property
    def _busy_until(self) -> float:
        return max(self.last_output, self.last_helpers)


def snapshot(
    at: float, members: Collection[Identity], agent: Identity | None, log: str, ranks_folder: str
) -> Snapshot:
    """Read it all now. Blocking, a few milliseconds.

    members: every process that was seen in the run; ranks are the agent's children that have one.
    """
    alive: dict[int, tuple[Identity, _Process]] = {}
    for member in members:
        found = _read(member.pid)
        if found is not None and found.started == member.started:
            alive[member.pid] = (member, found)
    mains: dict[int, tuple[Identity, _Process]] = {}
    for member, found in alive.values():
        if member.rank is None or agent is None or found.parent != agent.pid:
            continue
        other = mains.get(member.rank)
        if other is None or other[0].started <= member.started:
            mains[member.rank] = (member, found)
    owners = {member.pid: rank for rank, (member, _) in mains.items()}
    cpu = dict.fromkeys(mains, 0.0)
    moved = dict.fromkeys(mains, 0.0)
    helpers = 0.0
    for pid, (member, found) in alive.items():
        rank = _owner(pid, alive, owners)
        if rank is not None:
            cpu[rank] += found.cpu
            moved[rank] += found.faults * _PAGE + _bytes(pid)
        elif agent is None or member.key != agent.key:
            helpers += found.cpu
    outside, inside = _network()
    return Snapshot(
        at=at,
        ranks={
            rank: RankActivity(member, cpu[rank], moved[rank], found.state, _channel(member.pid))
            for rank, (member, found) in mains.items()
        },
        helpers=helpers,
        output=_output(log, ranks_folder),
        outside=outside,
        inside=inside,
    )


@dataclass(frozen=True)
class _Process:
    parent: int
    started: int
    state: str
    cpu: float
    faults: int


def _owner(
    pid: int, alive: Mapping[int, tuple[Identity, _Process]], owners: Mapping[int, int]
) -> int | None:
    for _ in range(1000):  # a chain that changes while it is read could be a ring
        if pid in owners:
            return owners[pid]
        if pid not in alive:
            return None
        pid = alive[pid][1].parent
    return None


def _read(pid: int) -> _Process | None:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            text = file.read()
        fields = text[text.rfind(b")") + 2 :].split()
        state = fields[0].decode("ascii", "replace")
        if state in ("Z", "X", "x"):
            return None
        ticks = sum(map(int, fields[11:15]))  # its own, and those of children that it waited for
        faults = int(fields[9]) + int(fields[10])
        return _Process(int(fields[1]), int(fields[19]), state, ticks / _TICKS, faults)
    except (OSError, ValueError, IndexError):
        return None


def _bytes(pid: int) -> int:
    """Read and written by calls, and read from disks (which a mapped file is without a call)."""
    total = 0
    try:
        with open(f"/proc/{pid}/io", "rb") as file:
            for line in file.read(4096).splitlines():
                name, _, number = line.partition(b":")
                if name in (b"rchar", b"wchar", b"read_bytes"):
                    total += int(number)
    except (OSError, ValueError):
        return 0
    return total


def _channel(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/wchan", "rb") as file:
            return file.read(200).decode("ascii", "replace").strip("\0\n ")
    except OSError:
        return ""


def _network() -> tuple[int, int]:
    """Bytes received and sent so far: over everything but lo, and over lo."""
    outside = inside = 0
    try:
        with open("/proc/self/net/dev", "rb") as file:
            lines = file.read(65536).splitlines()[2:]
    except OSError:
        return 0, 0
    for line in lines:
        name, _, numbers = line.partition(b":")
        words = numbers.split()
        try:
            moved = int(words[0]) + int(words[8])
        except (ValueError, IndexError):
            continue
        if name.strip() == b"lo":
            inside += moved
        else:
            outside += moved
    return outside, inside


def _output(log: str, ranks_folder: str) -> int:
    """Bytes of the log, and of what ranks wrote that are not in it."""
    pattern = os.path.join(glob.escape(ranks_folder), "*", "attempt_*", "*", "std*.log")
    total = 0
    for path in (log, *glob.glob(pattern)):
        try:
            total += os.stat(path).st_size
        except OSError:
            continue
    return total
