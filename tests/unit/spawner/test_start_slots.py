"""Few containers start at the same time; slow, failed and cancelled ones keep nobody waiting."""

from __future__ import annotations

import asyncio
import contextlib
import os
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulated_time import SimulatedTime

from hub_ext.start_slots import PATIENCE, StartSlots, usual_count


class Failed(Exception):
    pass


@dataclass
class Start:
    """When it comes and how long it takes, in seconds.

    `leaves`: cancelled so long after it came.
    """

    comes: float
    takes: float
    fails: bool
    leaves: float | None
    began: float | None = None
    ended: bool = False


SECONDS = st.integers(0, 60).map(lambda tenths: tenths / 10)
STARTS = st.lists(
    st.builds(Start, comes=SECONDS, takes=SECONDS, fails=st.booleans(), leaves=st.none() | SECONDS),
    min_size=1,
    max_size=12,
)


def run(starts: list[Start], count: int) -> None:
    loop = SimulatedTime()
    slots = StartSlots(count)

    async def work(start: Start) -> None:
        async with slots.one():
            start.began = loop.time()
            fresh = [
                other
                for other in starts
                if other.began is not None
                and not other.ended
                and loop.time() - other.began < PATIENCE - 1e-6
            ]
            assert len(fresh) <= count
            try:
                await asyncio.sleep(start.takes)
                if start.fails:
                    raise Failed
            finally:
                start.ended = True

    async def one(start: Start) -> None:
        await asyncio.sleep(start.comes)
        task = asyncio.create_task(work(start))
        await asyncio.wait([task], timeout=start.leaves)
        task.cancel()
        with contextlib.suppress(Failed, asyncio.CancelledError):
            await task

    async def everybody() -> None:
        await asyncio.gather(*(one(start) for start in starts))
        # nothing is lost, and nothing was given back twice
        assert slots._free._value == count

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(everybody())


@given(starts=STARTS, count=st.integers(1, 3))
def test_few_at_once_in_order_and_nobody_waits_for_slow_ones(starts, count):
    run(starts, count)
    for start in starts:
        start_by = start.comes + PATIENCE * len(starts)
        if start.leaves is None or start.leaves > PATIENCE * len(starts):
            assert start.began is not None and start.began <= start_by
    began = [start for start in starts if start.began is not None]
    for earlier in began:
        for later in began:
            if earlier.comes < later.comes:
                assert earlier.began <= later.began


@pytest.mark.parametrize(("cores", "starts"), [(1, 1), (2, 1), (3, 1), (8, 4)])
def test_half_of_the_cores_that_the_hub_may_use(monkeypatch, cores, starts):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(cores)))
    assert usual_count() == starts
