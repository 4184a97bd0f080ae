"""Usage over time: bounded, peaks stay, what is kept is what was seen."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server_ext.ddp import usage as module
from server_ext.ddp.usage import (
    ENDED,
    POINTS,
    RUNNING,
    STOPPED,
    VALUES,
    WAITING,
    Device,
    RankNow,
    Usage,
    read_record,
    state_of,
)


def series(view: dict[str, Any]) -> dict[tuple[str, object], list[float | None]]:
    return {(one["kind"], one["of"]): one["values"] for one in view["series"]}


def now(rank: int, **more: Any) -> RankNow:
    return RankNow(rank, more.pop("pid", 100 + rank), more.pop("state", RUNNING), **more)


@pytest.mark.parametrize(
    ("letter", "load", "state"),
    [
        ("R", 0.0, RUNNING),
        ("R", None, RUNNING),
        ("S", None, WAITING),
        ("S", 1.0, WAITING),
        ("S", 80.0, RUNNING),  # the first thread waits for others that work
        ("D", 0.0, WAITING),
        ("T", 90.0, STOPPED),
        ("t", None, STOPPED),
    ],
)
def test_states(letter: str, load: float | None, state: str) -> None:
    assert state_of(letter, load) == state


def test_what_is_seen_is_told() -> None:
    usage = Usage()
    usage.add(0.5, [now(0, memory_bytes=10), now(1, memory_bytes=20)])
    usage.add(
        1.0,
        [now(0, cpu_percent=50.0, memory_bytes=5, gpu_memory_bytes=7, device="GPU-a")],
        [Device("GPU-a", "A", 100, 30, 90)],
        ("step", 12.5),
    )
    view = usage.view(over=False)
    assert view["times"] == [0.5, 1.0]
    assert series(view) == {
        ("cpu", 0): [None, 50.0],
        ("memory", 0): [10, 5],
        ("memory", 1): [20, None],
        ("gpu_memory", 0): [None, 7],
        ("utilization", "GPU-a"): [None, 90],
        ("device_memory", "GPU-a"): [None, 30],
        ("throughput", "step"): [None, 12.5],
    }
    zero, one = view["ranks"]
    assert (zero["state"], zero["memory_bytes"], zero["memory_peak_bytes"]) == (RUNNING, 5, 10)
    assert (one["state"], one["ended_at"], one["exit_code"]) == (ENDED, 1.0, None)


def test_how_ranks_ended() -> None:
    usage = Usage()
    usage.add(1, [now(0), now(1), now(2)])
    usage.end(2, {100: 3, 101: -9}, None)
    told = [(r["state"], r["exit_code"], r["signal"]) for r in usage.view(over=True)["ranks"]]
    assert told == [(ENDED, 3, None), (ENDED, -9, "SIGKILL"), (ENDED, None, None)]
    usage.end(2, {}, 0)
    assert {r["exit_code"] for r in usage.view(over=True)["ranks"]} == {0}
    usage.end(2, {100: -200}, 0)
    assert usage.ranks[0].signal == "signal 200"


def test_a_rank_that_is_started_again() -> None:
    usage = Usage()
    usage.add(1, [now(0, pid=5, memory_bytes=9)])
    usage.add(2, [])
    usage.add(3, [now(0, pid=6, memory_bytes=4)])
    rank = usage.ranks[0]
    assert (rank.pid, rank.starts, rank.state, rank.ended_at) == (6, 2, RUNNING, None)
    assert rank.memory_peak_bytes == 4


def test_a_run_over_has_no_rank_that_runs() -> None:
    usage = Usage()
    usage.add(1, [now(0)])
    assert usage.view(over=False)["ranks"][0]["state"] == RUNNING
    assert usage.view(over=True)["ranks"][0]["state"] == ENDED


def test_a_pause_is_a_gap() -> None:
    usage = Usage()
    usage.pause(1)
    usage.add(1, [now(0, memory_bytes=1)])
    usage.pause(50)
    usage.add(51, [now(0, memory_bytes=2)])
    view = usage.view(over=False)
    assert (view["times"], series(view)["memory", 0]) == ([1, 50, 51], [1, None, 2])


@pytest.mark.parametrize("samples", [POINTS - 2, POINTS - 1, POINTS, POINTS + 1, 10_001])
def test_a_long_run_stays_small_and_keeps_its_peak_and_its_mean(samples: int) -> None:
    usage = Usage()
    for at in range(samples):
        memory = 10**6 if at == samples // 3 else 1
        usage.add(at, [now(0, cpu_percent=float(at % 2) * 100, memory_bytes=memory)])
        assert len(usage.view(over=False)["times"]) <= POINTS if at % 97 == 0 else True
    view = usage.view(over=False)
    assert POINTS // 2 - 1 <= len(view["times"]) <= POINTS
    assert view["times"][-1] == samples - 1
    assert view["times"] == sorted(view["times"])
    found = series(view)
    assert max(value or 0 for value in found["memory", 0]) == 10**6
    if samples > 2 * POINTS:
        assert set(found["cpu", 0][:-1]) == {50.0}


def test_many_ranks_do_not_make_it_larger() -> None:
    usage = Usage()
    devices = [Device(f"GPU-{n}", None, 10, 1, 1) for n in range(100)]
    for at in range(2 * POINTS):
        ranks = [now(r, cpu_percent=1.0, memory_bytes=1, gpu_memory_bytes=1) for r in range(-1, 99)]
        usage.add(at, ranks, devices)
    view = usage.view(over=False)
    assert len(view["ranks"]) == module.MAXIMUM_RANKS
    assert len(view["devices"]) == module.MAXIMUM_DEVICES
    assert sum(len(one["values"]) for one in view["series"]) <= VALUES + len(view["series"])


SAMPLES = st.lists(
    st.tuples(
        st.lists(
            st.builds(
                now,
                st.integers(0, 3),
                pid=st.integers(1, 9),
                memory_bytes=st.none() | st.integers(0, 2**50),
                cpu_percent=st.none() | st.floats(0, 1e5),
            ),
            max_size=4,
            unique_by=lambda one: one.rank,
        ),
        st.none() | st.tuples(st.sampled_from(["step", "epoch"]), st.floats(0, 1e9)),
        st.booleans(),
    ),
    max_size=60,
)


@given(SAMPLES, st.integers(4, 12))
def test_any_samples_stay_within_bounds_and_come_back_from_the_file(
    samples: Any, points: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "POINTS", points)
        usage, most, view = Usage(), 0, Usage().view(over=False)
        for at, (ranks, rate, paused) in enumerate(samples):
            if paused:
                usage.pause(at)
            usage.add(at, ranks, (), rate)
            most = max([most, *(one.memory_bytes or 0 for one in ranks)])
            view = usage.view(over=False)
            assert len(view["times"]) <= points
            assert view["times"] == sorted(view["times"])
            assert all(len(one["values"]) == len(view["times"]) for one in view["series"])
        text = json.dumps(usage.record(), allow_nan=False)
        again = read_record(json.loads(text))
        assert again is not None
        assert again.view(over=False) == usage.view(over=False)
        shown = [v or 0 for key, vs in series(view).items() if key[0] == "memory" for v in vs]
        assert max(shown, default=0) == most


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


@given(JSON)
def test_any_json_is_a_record_or_none(value: Any) -> None:
    assert read_record(value) is None


@given(st.sampled_from(["times", "ranks", "series", "devices", "throughput", "every"]), JSON)
def test_a_damaged_record_never_raises(part: str, value: Any) -> None:
    usage = Usage()
    usage.add(1, [now(0, memory_bytes=1)], [Device("GPU-a")], ("step", 2.0))
    usage.throughput = {"unit": "step", "mean": 1.0, "last": 2.0}
    found = read_record({**usage.record(), part: value})
    if found is not None:  # it goes on from there
        found.add(2, [now(0, memory_bytes=1)])
        found.end(3, {}, None)
        json.dumps(found.view(over=True))
