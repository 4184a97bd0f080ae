"""Numbers that a script prints, as series to draw: `loss=0.3`, `loss: 0.3`, JSON, dicts. Pure.

Guarantees: any text is an acceptable input; memory is bounded, whatever is printed
(SERIES series of POINTS points, a half line of HALF characters a rank); a series that gets too long
loses every second point, so that its shape stays; of several ranks that print the same name the
lowest counts; what is no number (nan, inf) is kept as such, because it is what people look for.
"""

from __future__ import annotations

import ast
import json
import math
import re
from dataclasses import dataclass, field
from typing import Any

SERIES = 40
POINTS = 1000
LONGEST = 4096  # of a line; what is longer has no numbers for people
HALF = LONGEST + 1  # of a line that has not ended: enough to know that it is longer

_NUMBER = r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?|[-+]?(?:nan|inf(?:inity)?)"
# `:` needs a blank, or 127.0.0.1:29500 and 12:30 would be numbers of something
_PAIR = re.compile(
    rf"(?<![\w./@?&-])([A-Za-z_][\w./@-]{{0,39}}) ?(?:= ?|: +)({_NUMBER})(?![\w.:/-]*\w)",
    re.IGNORECASE,
)
# lines of PyTorch's own log in a rank's output; "[Gloo] … peer ranks is : 1" is no result
_LIBRARY = re.compile(r"\[Gloo\] |(?:\[rank\d+\]:)?\[?[IWEF]\d{4} |\S+:\d+:\d+ \[\d+\] NCCL ")
_ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
# what counts the points, the best first; not drawn themselves
_STEPS = ("step", "global_step", "iteration", "iter", "batch", "epoch", "ep")
# numbers that are no result
_NO_METRICS = frozenset(
    {"rank", "local_rank", "world_size", "seed", "pid", "port", "exitcode", "exit_code", "line"}
    | {"device", "gpu", "gpus", "cuda", "nproc", "num_workers", "workers", "signal", "processes"}
)


@dataclass(frozen=True)
class Point:
    """The numbers of one line. counter: what counts the steps ("epoch"), where something does, and
    step: where it stood; values: by name.
    """

    counter: str | None
    step: float | None
    values: dict[str, float]


@dataclass
class Series:
    """One name's numbers. points: (x, y), where x is the step that came with y, else a count;
    every: how many points one that is kept stands for.
    """

    name: str
    rank: int
    points: list[tuple[float, float]] = field(default_factory=list)
    count: int = 0
    every: int = 1
    last: float = 0.0

    def add(self, step: float | None, value: float) -> None:
        """One more number."""
        x = float(self.count) if step is None else step
        self.last = value
        if self.count % self.every == 0:
            self.points.append((x, value))
            if len(self.points) > POINTS:
                del self.points[1::2]
                self.every *= 2
        self.count += 1

    def view(self) -> dict[str, Any]:
        """As the REST interface shows it. What is no number is text: JSON has no word for it."""
        finite = [y for _, y in self.points if math.isfinite(y)]
        return {
            "name": self.name,
            "rank": self.rank,
            "count": self.count,
            "last": _json(self.last),
            "least": min(finite, default=None),
            "most": max(finite, default=None),
            "points": [[x, _json(y)] for x, y in self.points],
        }


class Metrics:
    """The series of one run, as its log is read from the start."""

    def __init__(self) -> None:
        self._series: dict[str, Series] = {}
        self._half: dict[int, str] = {}

    def feed(self, rank: int | None, text: str) -> None:
        """More of a rank's output; torchrun's own (None) has no numbers."""
        if rank is None:
            return
        lines = (self._half.get(rank, "") + text).replace("\r", "\n").split("\n")
        self._half[rank] = lines[-1][:HALF]
        for line in lines[:-1]:
            self._line(rank, line)

    def end(self) -> None:
        """The log has ended: half lines are whole."""
        for rank, line in self._half.items():
            self._line(rank, line)
        self._half = {}

    def view(self) -> list[dict[str, Any]]:
        """All series, in the order in which their names came."""
        return [series.view() for series in self._series.values()]

    def _line(self, rank: int, line: str) -> None:
        point = point_in(line)
        for name, value in point.values.items():
            series = self._series.get(name)
            if series is None:
                if len(self._series) >= SERIES:
                    continue
                series = self._series[name] = Series(name, rank)
            if rank < series.rank:
                self._series[name] = series = Series(name, rank)
            if rank == series.rank:
                series.add(point.step, value)


def point_in(line: str) -> Point:
    """What one line says of the training; a point without values where it says nothing."""
    numbers = numbers_in(line)
    counter = next((name for name in _STEPS if math.isfinite(numbers.get(name, math.nan))), None)
    values = {
        name: value
        for name, value in numbers.items()
        if name.lower() not in _NO_METRICS and name.lower() not in _STEPS
    }
    return Point(counter, None if counter is None else numbers[counter], values)


def numbers_in(line: str) -> dict[str, float]:
    """The named numbers of one line; {} of one that is longer than LONGEST."""
    if len(line) > LONGEST:
        return {}
    text = _ANSI.sub("", line).strip()
    if _LIBRARY.match(text):
        return {}
    if text.startswith("{") and text.endswith("}"):
        found = _mapping(text)
        if found is not None:
            return found
    return {name: float(number) for name, number in _PAIR.findall(text)}


def _mapping(text: str) -> dict[str, float] | None:
    """The numbers of a JSON object or of a printed dict; None for anything else."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        try:
            value = ast.literal_eval(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            return None
    if not isinstance(value, dict):
        return None
    found = {}
    for name, number in value.items():
        if isinstance(name, str) and isinstance(number, (int, float)) and number is not True:
            try:
                found[name[:40]] = float(number)
            except OverflowError:
                continue
    return found


def _json(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)
