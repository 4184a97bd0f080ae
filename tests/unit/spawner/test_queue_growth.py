"""The queue's decision grows no worse than n log n; `make perf-queue` has the times."""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable

import pytest
from lines import crowd

from hub_ext.fair_queue import decide, line_up
from hub_ext.models import Snapshot

SMALL, TIMES = 300, 8
SLACK = 3  # what grows with the square of n exceeds it


def seconds(call: Callable[[Snapshot], object], seen: Snapshot) -> float:
    """Of the CPU, as if the snapshot was just read."""
    seen.derived.clear()
    start = time.thread_time()
    call(seen)
    return time.thread_time() - start


@pytest.mark.parametrize("free", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("call", [decide, line_up])
def test_it_grows_no_worse_than_n_log_n(call: Callable[[Snapshot], object], free: float) -> None:
    """Of several tries in turn the quickest, which is the least disturbed."""
    sites = [crowd(n * 2 // 5, n, free) for n in (SMALL, SMALL * TIMES)]
    gc.collect()
    tries = [[seconds(call, seen) for seen in sites] for _ in range(9)]
    small, large = (min(times) for times in zip(*tries, strict=True))
    expected = TIMES * math.log(SMALL * TIMES) / math.log(SMALL)
    assert large / small < expected * SLACK
