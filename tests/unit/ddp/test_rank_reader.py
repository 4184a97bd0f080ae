"""Which processes make a rank, and what they use; of real processes, too."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from server_ext.ddp.gpu_watch import Gpu
from server_ext.ddp.process import Identity, identify
from server_ext.ddp.rank_reader import RankReader, Reading, ranks_of, read_process
from server_ext.ddp.usage import Device

MB = 2**20


def reading(pid: int, parent: int, rank: int | None = None, **more: int) -> Reading:
    return Reading(pid, more.get("started", pid), parent, "S", 0.0, 100 * MB, 40 * MB, rank)


AGENT = reading(10, 1)


def test_a_rank_is_torchruns_child_and_its_workers() -> None:
    processes = [
        AGENT,
        reading(20, 10, 0),
        reading(21, 20, 0),  # a worker
        reading(22, 21),  # a child of that which cleared its environment
        reading(30, 10, 1),
        reading(40, 10),  # torchrun's helper
        reading(50, 1, 1),  # an orphan of a rank that was
    ]
    ranks = ranks_of(processes, {one.key: 10.0 for one in processes}, 10)
    assert [(one.rank, one.pid, one.cpu_percent) for one in ranks] == [(0, 20, 30.0), (1, 30, 10.0)]
    assert [one.memory_bytes for one in ranks] == [220 * MB, 100 * MB]


def test_a_rank_whose_process_has_gone_is_none() -> None:
    assert ranks_of([AGENT, reading(21, 1, 0)], {}, 10) == []
    assert ranks_of([], {}, None) == []


def test_after_a_restart_the_newer_process_counts() -> None:
    ranks = ranks_of([AGENT, reading(20, 10, 0), reading(25, 10, 0)], {}, 10)
    assert [one.pid for one in ranks] == [25]
    assert ranks[0].cpu_percent is None  # it was not read before


def test_a_rank_of_a_torchrun_within_a_rank_is_not_a_second_one() -> None:
    processes = [AGENT, reading(20, 10, 0), reading(21, 20, 0), reading(22, 21, 1)]
    assert [one.rank for one in ranks_of(processes, {}, 10)] == [0]


def test_a_loop_of_parents_ends() -> None:
    assert ranks_of([reading(2, 3, 0), reading(3, 2, 0)], {}, None) == []


def test_memory_on_the_gpu_where_nvml_tells_pids_of_this_container() -> None:
    me, parent = os.getpid(), os.getppid()
    processes = [reading(parent, 1), reading(me, parent, 0)]
    device, other = Device("GPU-a"), Device("GPU-b")
    told = ranks_of(processes, {}, parent, [Gpu(device, {me: 5, parent: 9}), Gpu(other, {me: 3})])
    assert (told[0].device, told[0].gpu_memory_bytes) == ("GPU-a", 8)
    # a pid that is none here: NVML speaks of the host's, so that `me` is someone else there
    for gpu in (Gpu(device, {me: 5, 2**22 + 1: 9}), Gpu(device, None), Gpu(device, {me: None})):
        told = ranks_of(processes, {}, parent, [gpu])
        assert (told[0].device, told[0].gpu_memory_bytes) == (None, None)


@pytest.fixture
def busy() -> Iterator[Identity]:
    """A process that computes until it is told to stop."""
    child = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    found = identify(child.pid, 0)
    assert found is not None
    yield found
    child.kill()
    child.wait()


def test_a_real_process(busy: Identity) -> None:
    me = identify(os.getpid())
    assert me is not None
    reader = RankReader()
    (first,) = reader.read([me, busy], me)
    assert first.cpu_percent is None
    deadline = time.monotonic() + 20
    while (load := reader.read([me, busy], me)[0].cpu_percent or 0) < 1:
        assert time.monotonic() < deadline
        time.sleep(0.3)
    assert load < 150
    os.kill(busy.pid, signal.SIGSTOP)
    while (now := reader.read([me, busy], me)[0]).state != "stopped":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert 2 * MB < (now.memory_bytes or 0) < 2**30
    os.kill(busy.pid, signal.SIGKILL)
    while reader.read([me, busy], me):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_later_bearer_of_the_pid_is_not_read(busy: Identity) -> None:
    assert read_process(busy) is not None
    assert read_process(Identity(busy.pid, busy.started + 1, 0)) is None
