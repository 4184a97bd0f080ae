"""Whose process holds memory of a device: what cgroups say, and what is told of it to whom."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub_ext.inventory.attribution import (
    Holder,
    Holding,
    containers_of,
    holdings,
    pids_of,
    start_ticks,
)
from hub_ext.inventory.host_processes import locate, ticks_now
from hub_ext.models import DeviceProcess

A, B = "a" * 64, "0123456789abcdef" * 4

V1_CGROUPFS = f"""\
12:pids:/docker/{A}
11:memory:/docker/{A}
2:cpuset:/docker/{A}
1:name=systemd:/docker/{A}
0::/system.slice/containerd.service
"""
V1_SYSTEMD = f"""\
12:pids:/system.slice/docker-{A}.scope
11:rdma:/
1:name=systemd:/system.slice/docker-{A}.scope
"""


@pytest.mark.parametrize(
    ("cgroup", "containers"),
    [
        pytest.param(f"0::/docker/{A}\n", (A,), id="v2, cgroupfs driver"),
        pytest.param(f"0::/system.slice/docker-{A}.scope\n", (A,), id="v2, systemd driver"),
        pytest.param(V1_CGROUPFS, (A,), id="v1, cgroupfs driver"),
        pytest.param(V1_SYSTEMD, (A,), id="v1, systemd driver"),
        pytest.param(f"0::/../docker-{A}.scope\n", (A,), id="seen from within a container"),
        pytest.param(f"0::/docker/{A}/init/worker\n", (A,), id="a group within the container"),
        pytest.param(f"0::/docker/{A}/docker/{B}\n", (A, B), id="an Engine in a container"),
        pytest.param(f"0::/machine.slice/libpod-{A}.scope/container\n", (A,), id="Podman"),
        pytest.param("0::/user.slice/user-1000.slice/session-4.scope\n", (), id="of the host"),
        pytest.param("0::/\n", (), id="root"),
        pytest.param("", (), id="nothing"),
        pytest.param(f"0::/docker/{A[1:]}\n", (), id="too short for an id"),
        pytest.param(f"0::/docker/{A}b\n", (), id="too long for an id"),
        pytest.param(f"0::/docker/x{A}.scopes\n", (), id="an id within a word"),
    ],
)
def test_the_containers_of_a_cgroup(cgroup, containers):
    assert containers_of(cgroup) == containers


@pytest.mark.parametrize(
    ("status", "pids"),
    [
        ("Name:\tpython\nNSpid:\t4711\t23\n", (4711, 23)),
        ("NSpid:\t4711\n", (4711,)),
        ("Name:\tNSpid: 7\n", ()),
        ("Pid:\t4711\n", ()),
        ("", ()),
    ],
)
def test_the_numbers_of_a_process(status, pids):
    assert pids_of(status) == pids


def stat(name: str, began: int) -> str:
    """/proc/PID/stat as far as the start time, and some more."""
    return f"4711 ({name}) S " + "0 " * 18 + f"{began} 0 0\n"


@pytest.mark.parametrize("name", ["python", "a b", ") S 1 2", "((", ""])
def test_the_start_of_a_process_whatever_its_name(name):
    assert start_ticks(stat(name, 123)) == 123


@given(st.text())
def test_any_text_of_proc_is_read(text):
    assert isinstance(containers_of(text), tuple)
    assert isinstance(pids_of(text), tuple)
    assert start_ticks(text) is None or start_ticks(text) >= 0


# -- /proc


@pytest.fixture
def proc(tmp_path: Path) -> Callable[..., Path]:
    """Adds a process to a stand-in for /proc; gives its folder."""

    def add(pid: int, *, cgroup: str = "", status: str = "", began: int = 100) -> Path:
        folder = tmp_path / str(pid)
        folder.mkdir()
        (folder / "cgroup").write_text(cgroup)
        (folder / "status").write_text(status)
        (folder / "stat").write_text(stat("python", began))
        return tmp_path

    add.root = tmp_path  # type: ignore[attr-defined]  # where there is no process
    return add


def test_a_process_is_located_in_its_container(proc):
    root = proc(4711, cgroup=f"0::/docker/{A}\n", status="NSpid:\t4711\t23\n")
    assert locate([(4711, 2**30)], 100, root) == (DeviceProcess(4711, 2**30, (A,), (4711, 23)),)


def test_a_process_that_is_gone_is_one_of_which_nothing_is_known(proc):
    assert locate([(4711, 7)], 100, proc.root) == (DeviceProcess(4711, 7),)


def test_a_pid_that_another_process_has_by_now_is_not_attributed_to_it(proc):
    """The new one began after NVML was asked; its container must not be blamed."""
    root = proc(4711, cgroup=f"0::/docker/{A}\n", status="NSpid:\t4711\t23\n", began=101)
    assert locate([(4711, 7)], 100, root) == (DeviceProcess(4711, 7),)


def test_a_process_whose_start_cannot_be_told_is_not_attributed(proc):
    root = proc(4711, cgroup=f"0::/docker/{A}\n")
    (root / "4711" / "stat").write_text("")
    assert locate([(4711, 7)], 100, root) == (DeviceProcess(4711, 7),)


def test_a_real_process_is_as_old_as_it_is():
    """This kernel's /proc and clock: what began before the question counts."""
    before = ticks_now()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        early, late = (
            locate([(child.pid, None)], asked, Path("/proc"))[0]
            for asked in (before - 1, ticks_now() + 1)
        )
        child.communicate(b"\n")
    assert early == DeviceProcess(child.pid)
    assert late.pids and late.pids[0] == child.pid
    (me,) = locate([(os.getpid(), None)], ticks_now())
    assert me.pids


# -- what a server may know

ADA, ADAS_OTHER, BOB = ("ada", ""), ("ada", "second"), ("bob", "")
SERVERS = {A: ADA, B: BOB, "c" * 64: ADAS_OTHER}


def test_others_are_told_without_names_and_numbers():
    processes = [
        DeviceProcess(50, 2, (B,), (50, 9)),
        DeviceProcess(51, 3, (B,), (51, 10)),
        DeviceProcess(40, 7, ("c" * 64,), (40, 5)),
        DeviceProcess(30, 11, (A,), (30, 8)),
        DeviceProcess(31, None, (A,), (31, 4)),
        DeviceProcess(1, 13, ("d" * 64,), (1, 3)),
        DeviceProcess(2, None),
    ]
    assert holdings(processes, SERVERS, ADA) == (
        Holding(Holder.OWN, 1, None, 4),
        Holding(Holder.OWN, 1, 11, 8),
        Holding(Holder.SAME_USER, 1, 7),
        Holding(Holder.ANOTHER_USER, 2, 5),
        Holding(Holder.UNKNOWN, 2, 13),
    )


@pytest.mark.parametrize(
    ("containers", "pids", "inside"),
    [
        ((A,), (300, 8), 8),
        ((A,), (300, 8, 1), 8),  # it made a namespace of its own within the container
        ((A,), (300,), 300),  # --pid=host
        ((A,), (), None),  # an old kernel
        (("d" * 64, A), (300, 20, 8), 8),  # the Engine is in a container, too
    ],
)
def test_a_pid_is_that_of_the_servers_container(containers, pids, inside):
    (own,) = holdings([DeviceProcess(300, 1, containers, pids)], SERVERS, ADA)
    assert (own.holder, own.pid) == (Holder.OWN, inside)


process = st.builds(
    DeviceProcess,
    st.integers(1, 10**6),
    st.none() | st.integers(0, 2**40),
    st.lists(st.sampled_from([*SERVERS, "d" * 64]), max_size=2).map(tuple),
    st.lists(st.integers(1, 10**6), max_size=3).map(tuple),
)


@given(st.lists(process))
def test_no_byte_and_no_process_is_lost_and_no_pid_of_others_is_told(processes):
    told = holdings(processes, SERVERS, ADA)
    assert sum(each.processes for each in told) == len(processes)
    assert sum(each.memory_bytes or 0 for each in told) == sum(
        each.memory_bytes or 0 for each in processes
    )
    assert all(each.pid is None for each in told if each.holder is not Holder.OWN)
    others = [each.holder for each in told if each.holder is not Holder.OWN]
    assert len(others) == len(set(others))
