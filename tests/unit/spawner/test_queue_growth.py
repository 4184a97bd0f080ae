"""The queue's decision grows no worse than n log n; `make perf-queue` has the times."""

from __future__ import annotations

import gc
import math
import random
import time
from collections.abc import Callable
from dataclasses import replace

import pytest
from lines import changed, crowd

from hub_ext.fair_queue import decide, line_up
from hub_ext.models import Snapshot

SMALL, TIMES = 300, 8
SLACK = 3  # what grows with the square of n exceeds it


def seconds(call: Callable[[Snapshot], object], seen: Snapshot) -> float:
    """Of the CPU."""
    start = time.thread_time()
    call(seen)
    return time.thread_time() - start


@pytest.mark.parametrize("free", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("call", [decide, line_up])
def test_it_grows_no_worse_than_n_log_n(call: Callable[[Snapshot], object], free: float) -> None:
    """Of several tries, each after a change, the quickest, which is the least disturbed."""
    found = []
    for waiting in (SMALL, SMALL * TIMES):
        seen = crowd(waiting * 2 // 5, waiting, free)
        call(seen)  # the first look is another matter
        gc.collect()
        tries = []
        for number in range(9):
            seen = changed(seen, number)
            tries.append(seconds(call, seen))
        found.append(min(tries))
    small, large = found
    expected = TIMES * math.log(SMALL * TIMES) / math.log(SMALL)
    assert large / small < expected * SLACK


def test_so_does_the_first_look() -> None:
    """With nothing that is known from earlier: the line is in no order at first."""
    small, large = (
        min(seconds(decide, shuffled(crowd(n * 2 // 5, n, 0.1))) for _ in range(5))
        for n in (SMALL, SMALL * TIMES)
    )
    expected = TIMES * math.log(SMALL * TIMES) / math.log(SMALL)
    assert large / small < expected * SLACK


def shuffled(seen: Snapshot) -> Snapshot:
    queue = list(seen.queue)
    random.Random(0).shuffle(queue)  # noqa: S311
    return replace(seen, queue=tuple(queue))
