"""What the ranks and GPUs of a run use over time, thinned so that its size does not grow. Pure.

Guarantees: at most POINTS rows and about VALUES numbers, however long the run and however many its
ranks (two rows become one, again and again); a peak of memory survives that, because of two sizes
the larger stays, while of two loads the mean does; a rank that ended stays in the table, with how
it ended as far as that is known; a record that is damaged is no record, and never raises.
"""

from __future__ import annotations

import math
import signal
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

POINTS = 600
VALUES = 60_000
MAXIMUM_RANKS = 64
MAXIMUM_DEVICES = 16
MAXIMUM_SERIES = 3 * MAXIMUM_RANKS + 2 * MAXIMUM_DEVICES + 4
BUSY_PERCENT = 5.0  # of one core: a thread of a rank works, though its first one waits

# kinds of series: of a rank; of a device; of a unit of throughput.py
CPU, MEMORY, GPU_MEMORY = "cpu", "memory", "gpu_memory"
UTILIZATION, DEVICE_MEMORY = "utilization", "device_memory"
THROUGHPUT = "throughput"
_SIZES = frozenset({MEMORY, GPU_MEMORY, DEVICE_MEMORY})
_KINDS = _SIZES | {CPU, UTILIZATION, THROUGHPUT}

RUNNING, WAITING, STOPPED, ENDED = "running", "waiting", "stopped", "ended"
_STATES = frozenset({RUNNING, WAITING, STOPPED, ENDED})

Key = tuple[str, int | str]  # kind, and whose: a rank, a device's UUID, a unit
Row = dict[Key, float]


@dataclass(frozen=True)
class RankNow:
    """A rank at one moment: its process and that one's children. Sizes in bytes; cpu: 100 is one
    core. device: the UUID of the GPU that NVML says it uses; None: not told.
    """

    rank: int
    pid: int
    state: str  # RUNNING, WAITING or STOPPED
    cpu_percent: float | None = None
    memory_bytes: int | None = None
    gpu_memory_bytes: int | None = None
    device: str | None = None


@dataclass(frozen=True)
class Device:
    """A GPU at one moment, with all that uses it."""

    uuid: str
    name: str | None = None
    memory_bytes: int | None = None
    memory_used_bytes: int | None = None
    utilization_percent: int | None = None


@dataclass(frozen=True)
class RankSeen(RankNow):
    """A rank as it was when last seen, and what it came to. Times: seconds since the start."""

    memory_peak_bytes: int | None = None
    gpu_memory_peak_bytes: int | None = None
    starts: int = 1  # by torchrun, which starts all again where restarts were asked for
    ended_at: float | None = None
    exit_code: int | None = None
    signal: str | None = None  # that ended it, such as SIGKILL


# fields of RankSeen
_NUMBERS = ("rank", "pid", "starts", "ended_at", "exit_code", "cpu_percent", "memory_bytes") + (
    "gpu_memory_bytes",
    "memory_peak_bytes",
    "gpu_memory_peak_bytes",
)


def state_of(letter: str, cpu_percent: float | None) -> str:
    """Of a process by its letter in /proc and its load; one that sleeps may have threads that
    work.
    """
    if letter in ("T", "t"):
        return STOPPED
    return RUNNING if letter == "R" or (cpu_percent or 0.0) >= BUSY_PERCENT else WAITING


@dataclass
class Usage:
    """The usage of one run."""

    times: list[float] = field(default_factory=list)
    columns: dict[Key, list[float | None]] = field(default_factory=dict)
    ranks: dict[int, RankSeen] = field(default_factory=dict)
    devices: dict[str, Device] = field(default_factory=dict)
    throughput: dict[str, Any] | None = None  # {unit, mean, last}; per second
    every: int = 1  # how many samples make a row
    _bucket: list[tuple[float, Row]] = field(default_factory=list)

    def add(
        self,
        at: float,
        ranks: Iterable[RankNow],
        devices: Iterable[Device] = (),
        rate: tuple[str, float] | None = None,
    ) -> None:
        """One more sample. at: seconds since the start; rate: a unit, and how many per second."""
        row: Row = {}
        alive = set()
        for now in ranks:
            if not 0 <= now.rank < MAXIMUM_RANKS:
                continue
            alive.add(now.rank)
            self.ranks[now.rank] = _seen(self.ranks.get(now.rank), now)
            _put(row, (CPU, now.rank), now.cpu_percent)
            _put(row, (MEMORY, now.rank), now.memory_bytes)
            _put(row, (GPU_MEMORY, now.rank), now.gpu_memory_bytes)
        self._end_all_but(alive, at)
        for device in devices:
            if device.uuid not in self.devices and len(self.devices) >= MAXIMUM_DEVICES:
                continue
            self.devices[device.uuid] = device
            _put(row, (UTILIZATION, device.uuid), device.utilization_percent)
            _put(row, (DEVICE_MEMORY, device.uuid), device.memory_used_bytes)
        if rate is not None:
            _put(row, (THROUGHPUT, rate[0]), rate[1])
        self._bucket.append((round(at, 2), row))
        if len(self._bucket) >= self.every:
            rows, self._bucket = self._bucket, []
            self._append(*_merged(rows))

    def pause(self, at: float) -> None:
        """Nobody looked for a while (a server that was away): the lines have a gap here."""
        rows, self._bucket = self._bucket, []
        if rows:
            self._append(*_merged(rows))
        if self.times:
            self._append(round(at, 2), {})

    def end(self, at: float, endings: Mapping[int, int], everywhere: int | None) -> None:
        """The run is over. endings: exit codes by pid, negative for a signal; everywhere: what
        all others ended with; None: not known.
        """
        self._end_all_but(set(), at)
        for rank, one in self.ranks.items():
            code = endings.get(one.pid, everywhere)
            self.ranks[rank] = replace(one, exit_code=code, signal=_signal_name(code))

    def view(self, *, over: bool) -> dict[str, Any]:
        """As the REST interface shows it. over: the run is; no rank is alive then."""
        times, columns = list(self.times), {key: list(v) for key, v in self.columns.items()}
        if self._bucket:
            _append(times, columns, *_merged(self._bucket))
        ranks = [self.ranks[rank] for rank in sorted(self.ranks)]
        return {
            "throughput": self.throughput,
            "ranks": [asdict(replace(r, state=ENDED) if over else r) for r in ranks],
            "devices": [asdict(device) for device in self.devices.values()],
            "times": times,
            "series": [
                {"kind": kind, "of": of, "values": values} for (kind, of), values in columns.items()
            ],
        }

    def record(self) -> dict[str, Any]:
        """What is kept in a file."""
        return {"version": 1, "every": self.every, **self.view(over=False)}

    def _end_all_but(self, alive: set[int], at: float) -> None:
        for rank, one in self.ranks.items():
            if rank not in alive and one.state != ENDED:
                self.ranks[rank] = replace(one, state=ENDED, ended_at=round(at, 2))

    def _append(self, at: float, row: Row) -> None:
        _append(self.times, self.columns, at, row)
        # one row less than POINTS: the last, unfinished one is shown, too
        while len(self.times) >= POINTS or len(self.times) * len(self.columns) > VALUES:
            self._thin()

    def _thin(self) -> None:
        if len(self.times) % 2:
            # the odd one out waits for its other half
            last = self.times.pop()
            row = {key: value for key, c in self.columns.items() if (value := c.pop()) is not None}
            self._bucket[:0] = [(last, row)] if row else []
        self.times = self.times[1::2]
        for (kind, of), values in self.columns.items():
            pairs = zip(values[::2], values[1::2], strict=True)
            self.columns[kind, of] = [_one_of(kind, pair) for pair in pairs]
        self.every *= 2


def read_record(value: Any) -> Usage | None:
    """A Usage from what `record` gave; None for what is none."""
    try:
        times = [_number(one) for one in value["times"][:POINTS]]
        usage = Usage(times=times, every=max(1, min(int(value["every"]), 2**40)))
        for series in value["series"][:MAXIMUM_SERIES]:
            values = [None if one is None else _number(one) for one in series["values"]]
            of = series["of"]
            if series["kind"] in _KINDS and len(values) == len(times) and type(of) in (int, str):
                usage.columns[series["kind"], of] = values
        for one in value["ranks"][:MAXIMUM_RANKS]:
            rank = RankSeen(**_known(RankSeen, one))
            if rank.state in _STATES and all(_is_valid(rank, name) for name in _NUMBERS):
                usage.ranks[rank.rank] = rank
        for one in value["devices"][:MAXIMUM_DEVICES]:
            device = Device(**_known(Device, one))
            usage.devices[str(device.uuid)] = device
        throughput = value.get("throughput")
        if throughput is not None:
            usage.throughput = {
                "unit": str(throughput["unit"]),
                "mean": _number(throughput["mean"]),
                "last": _number(throughput["last"]),
            }
    except (TypeError, KeyError, ValueError, AttributeError, OverflowError):
        return None
    return usage


def _seen(before: RankSeen | None, now: RankNow) -> RankSeen:
    values: dict[str, Any] = asdict(now)
    if before is not None and before.pid == now.pid:
        return replace(
            before,
            **values,
            memory_peak_bytes=_most(before.memory_peak_bytes, now.memory_bytes),
            gpu_memory_peak_bytes=_most(before.gpu_memory_peak_bytes, now.gpu_memory_bytes),
            ended_at=None,
        )
    return RankSeen(
        **values,
        memory_peak_bytes=now.memory_bytes,
        gpu_memory_peak_bytes=now.gpu_memory_bytes,
        starts=1 if before is None else before.starts + 1,
    )


def _put(row: Row, key: Key, value: float | None) -> None:
    if value is not None and math.isfinite(value):
        row[key] = value


def _append(
    times: list[float], columns: dict[Key, list[float | None]], at: float, row: Row
) -> None:
    for key in row:
        if key not in columns:
            columns[key] = [None] * len(times)
    times.append(at)
    for key, values in columns.items():
        values.append(row.get(key))


def _merged(rows: list[tuple[float, Row]]) -> tuple[float, Row]:
    """Several samples as one, at the time of the last."""
    keys = {key: None for _, row in rows for key in row}
    merged = {key: _one_of(key[0], [row.get(key) for _, row in rows]) for key in keys}
    return rows[-1][0], {key: value for key, value in merged.items() if value is not None}


def _one_of(kind: str, values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    if not known:
        return None
    if kind in _SIZES:
        return max(known)
    return float(f"{math.fsum(known) / len(known):.4g}")  # more digits say nothing


def _most(one: int | None, other: int | None) -> int | None:
    return max((value for value in (one, other) if value is not None), default=None)


def _signal_name(code: int | None) -> str | None:
    if code is None or code >= 0:
        return None
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"


def _number(value: Any) -> float:
    if type(value) not in (int, float) or not math.isfinite(value):
        raise ValueError(value)
    return value


def _is_valid(rank: RankSeen, name: str) -> bool:
    value = getattr(rank, name)
    return type(value) in (int, float) or (value is None and name not in ("rank", "pid", "starts"))


def _known(kind: type, value: Mapping[str, Any]) -> dict[str, Any]:
    names = {one.name for one in fields(kind)}
    return {name: part for name, part in value.items() if name in names}
