"""Since when ranks rest; and what /proc tells of real processes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server_ext.ddp.activity import RankActivity, Rest, Snapshot, snapshot
from server_ext.ddp.process import Identity, identify

QUIET = 60.0


def shot(
    at: float,
    cpu: Mapping[int, float] | None = None,
    moved: float = 0.0,
    *,
    helpers: float = 0.0,
    output: int = 0,
    outside: int = 0,
    inside: int = 0,
) -> Snapshot:
    """Two ranks that use nothing, or what is given."""
    ranks = {
        rank: RankActivity(Identity(100 + rank, 1, rank), used, moved, "S", "")
        for rank, used in (cpu or {0: 0.0, 1: 0.0}).items()
    }
    return Snapshot(at, ranks, helpers, output, outside, inside)


def rested(*shots: Snapshot) -> Rest:
    rest = Rest(QUIET)
    for one in shots:
        rest.add(one)
    return rest


def test_ranks_rest_after_a_while_and_not_before() -> None:
    rest = rested(shot(0), shot(30), shot(59.9))
    assert (rest.silent, rest.all_rest, rest.at_work(0)) == (False, False, True)
    rest.add(shot(60))
    assert (rest.silent, rest.all_rest, rest.at_work(0)) == (True, True, False)


def test_each_rank_for_itself() -> None:
    rest = rested(*(shot(at, {0: 0.0, 1: at * 0.5}) for at in range(0, 65, 5)))
    assert (rest.silent, rest.all_rest) == (True, False)
    assert (rest.at_work(0), rest.at_work(1)) == (False, True)


def test_a_watchdog_thread_is_no_work() -> None:
    rest = rested(*(shot(at, {0: at * 0.02, 1: 0.0}) for at in range(0, 65, 5)))
    assert rest.all_rest


@pytest.mark.parametrize(
    "sign", [{"moved": 10**6}, {"output": 1}, {"helpers": 30.0}], ids=lambda sign: next(iter(sign))
)
def test_signs_of_life(sign: dict[str, Any]) -> None:
    rest = rested(shot(0), shot(50), shot(55, **sign), shot(61, **sign))
    assert not (rest.silent and rest.all_rest)
    rest.add(shot(116, **sign))
    assert rest.silent and rest.all_rest


def test_a_log_that_was_cut_is_output() -> None:
    assert not rested(shot(0, output=9), shot(55, output=0), shot(70, output=0)).silent


def test_a_rank_that_ends_or_is_started_anew_begins_a_new_silence() -> None:
    rest = rested(shot(0), shot(55, {0: 0.0}), shot(70, {0: 0.0}))
    assert not rest.silent and rest.last_work.keys() == {0}
    again = shot(70)
    again = replace(
        again,
        ranks={
            rank: replace(one, identity=Identity(900 + rank, 7))
            for rank, one in again.ranks.items()
        },
    )
    rest = rested(shot(0), again)
    assert rest.at_work(0) and not rest.all_rest


def test_network_and_lo_are_told_apart() -> None:
    rest = rested(shot(0), shot(5, outside=10**6), shot(10, outside=10**6, inside=10**6))
    assert rest.network and rest.exchange
    rest.add(shot(70, outside=10**6, inside=10**6))
    assert not rest.network and not rest.exchange


def test_without_ranks_there_is_no_silence() -> None:
    assert not Rest(QUIET).silent and not Rest(QUIET).all_rest
    empty = replace(shot(0), ranks={})
    assert not rested(empty, replace(empty, at=1000)).silent


STEP = st.tuples(st.floats(0.1, 50), st.floats(0, 5), st.booleans())


@given(st.lists(STEP, min_size=1, max_size=30))
def test_silence_is_as_long_as_the_last_sign_is_old(steps: list[tuple[float, float, bool]]) -> None:
    rest = rested(shot(0))
    at = said = used = 0.0
    output, worked = 0, 0.0
    for seconds, cpu, prints in steps:
        at += seconds
        used += cpu
        if cpu >= 0.05 * seconds + 1e-6:
            worked = at
        elif cpu > 0.05 * seconds - 1e-6:
            return  # at the edge: rounding decides
        if prints:
            output, said = output + 1, at
        rest.add(shot(at, {0: used, 1: 0.0}, output=output))
    assert rest.silent == (at - said >= QUIET)
    assert rest.at_work(0) == (at - worked < QUIET)
    assert rest.at_work(1) == (at < QUIET)


WORKER = """
import subprocess, sys, time
while time.process_time() < 0.4: pass
subprocess.run([sys.executable, "-c", "import time\\nwhile time.process_time() < 0.4: pass"])
open("/proc/self/comm").read()
print("done", flush=True)
time.sleep(100)
"""


def test_what_proc_tells_of_a_rank_and_its_children(tmp_path: Path) -> None:
    log = tmp_path / "run.log"
    log.write_text("12345")
    hidden = tmp_path / "ranks" / "x" / "attempt_0" / "1"
    hidden.mkdir(parents=True)
    (hidden / "stdout.log").write_text("123")
    me = identify(os.getpid())
    rank = subprocess.Popen([sys.executable, "-c", WORKER], stdout=subprocess.PIPE)
    helper = subprocess.Popen(["sleep", "60"])
    try:
        assert rank.stdout is not None and rank.stdout.readline() == b"done\n"
        main, beside = identify(rank.pid, 1), identify(helper.pid)
        assert me is not None and main is not None and beside is not None
        gone = Identity(main.pid, main.started - 1, 0)  # its pid is someone else's now
        time.sleep(0.1)
        now = snapshot(5.0, [me, main, beside, gone], me, str(log), str(tmp_path / "ranks"))
        assert (now.at, set(now.ranks), now.output) == (5.0, {1}, 8)
        seen = now.ranks[1]
        assert seen.identity == main and seen.state == "S"
        assert seen.cpu >= 0.7  # its own, and its child's
        assert seen.moved > 1000 and now.helpers < 0.2
        assert now.inside >= 0 and now.outside >= 0
    finally:
        for process in (rank, helper):
            process.kill()
            process.communicate()
    assert not snapshot(6.0, [main], me, str(log), "/nowhere").ranks
