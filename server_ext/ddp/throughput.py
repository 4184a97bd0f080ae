"""How fast a run gets on: steps (or batches, bars, epochs) per second, from what it prints. Pure.

Guarantees: any text is an acceptable input; memory is bounded (one counter a unit); a count that
begins anew (the steps of the next epoch) goes on from where it was; of several ranks that count the
lowest is believed; the finest unit that was seen twice is told.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

# the finest first; the bar is tqdm's, `45/100 [00:03<00:04, 12.3it/s]`
STEP, BATCH, BAR, EPOCH = UNITS = ("step", "batch", "iteration", "epoch")
LONGEST = 4096  # of a line

_NAMES = {
    "global_step": STEP,
    "step": STEP,
    "iteration": STEP,
    "iter": STEP,
    "batch": BATCH,
    "epoch": EPOCH,
}
_COUNT = re.compile(
    # step=3, "step": 3, Epoch 3/10, Iter [30/100], Step #3; not batch_size=3, not step 3s
    r"""(?<![\w./-])(global_step|step|iteration|iter|batch|epoch)["']?"""
    r"""(?:[ ]*[=:#][ ]*|[ ]+)[\[(#]?[ ]*(\d{1,12}(?:\.\d{1,12})?)(?![\w%.]*\w)""",
    re.IGNORECASE,
)
# `45/100 [00:03<00:04,` or, without a total, `45it [00:03,`
_BAR = re.compile(r"(?<![\d/.])(\d{1,12})(?:/\d{1,12}|it) \[(?:\d+:)?\d\d:\d\d[<,]")
_ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


def counts_in(line: str) -> dict[str, float]:
    """What a line counts, by unit; {} of one that is longer than LONGEST."""
    if len(line) > LONGEST:
        return {}
    text = _ANSI.sub("", line)
    found: dict[str, float] = {}
    for name, number in _COUNT.findall(text):
        unit = _NAMES[name.lower()]
        # the count over all epochs is better than the one within an epoch
        if unit not in found or name.lower() == "global_step":
            found[unit] = float(number)
    bar = _BAR.search(text)
    if bar:
        found[BAR] = float(bar[1])
    return found


@dataclass
class _Counter:
    """One unit. Times in seconds since the start of the run."""

    rank: int
    value: float
    total: float = 0.0  # since it was first seen
    first_at: float | None = None
    marked_at: float = 0.0  # when the rate was last told
    marked: float = 0.0  # the total then


class Throughput:
    """The speed of one run, as its log is read."""

    def __init__(self) -> None:
        self._counters: dict[str, _Counter] = {}

    def feed(self, rank: int | None, text: str) -> None:
        """More of a rank's output, in whole lines; torchrun's own (None) counts nothing."""
        if rank is None:
            return
        for line in text.replace("\r", "\n").split("\n"):
            for unit, value in counts_in(line).items():
                counter = self._counters.get(unit)
                if counter is None or rank < counter.rank:
                    self._counters[unit] = _Counter(rank, value)
                elif rank == counter.rank:
                    # a smaller number: the count has begun anew, so it is all progress
                    counter.total += value - counter.value if value >= counter.value else value
                    counter.value = value

    def mark(self, at: float) -> tuple[str, float] | None:
        """The unit, and how many of it per second since the last mark that had news.

        at: seconds since the start of the run, when all that was fed was there. None: no news.
        """
        told = None
        for unit, counter in self._counters.items():
            if counter.first_at is None:
                # what was printed before the first mark is of unknown age
                counter.first_at = counter.marked_at = at
                counter.total = 0.0
            elif counter.total > counter.marked and at > counter.marked_at:
                rate = (counter.total - counter.marked) / (at - counter.marked_at)
                counter.marked, counter.marked_at = counter.total, at
                if unit == self.unit and math.isfinite(rate):
                    told = unit, rate
        return told

    @property
    def unit(self) -> str | None:
        """The finest unit that has got on between two marks."""
        return next((u for u in UNITS if u in self._counters and self._counters[u].marked), None)

    @property
    def mean(self) -> float | None:
        """Of `unit`, per second, from the first mark to the last with news; None before."""
        if self.unit is None:
            return None
        counter = self._counters[self.unit]
        seconds = counter.marked_at - (counter.first_at or 0.0)
        return counter.marked / seconds if seconds > 0 else None
