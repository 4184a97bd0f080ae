"""The priority of the hub, raised in a process of its own."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

RAISER = """
import logging, os, sys, threading
from pathlib import Path
from hub_ext.hub_priority import raise_priority
logging.basicConfig(level=logging.INFO, format="%(message)s")
done = threading.Event()
threading.Thread(target=done.wait).start()
raise_priority(int(sys.argv[1]))
print({os.getpriority(os.PRIO_PROCESS, int(thread)) for thread in os.listdir("/proc/self/task")})
group = Path("/proc/self/autogroup")
print(group.read_text() if group.exists() else "no groups")
done.set()
"""
SYS_NICE = 23  # linux/capability.h
AS_IT_IS = {os.getpriority(os.PRIO_PROCESS, 0)}


def raised(niceness: int, *, before: tuple[str, ...] = (), own_session: bool = True) -> str:
    """What a hub that raises its priority prints and logs."""
    return subprocess.run(
        [*before, sys.executable, "-c", RAISER, str(niceness)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
        start_new_session=own_session,
        check=True,
        timeout=60,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ).stdout


def may_raise() -> bool:
    found = re.search(r"^CapEff:\s*(\w+)$", Path("/proc/self/status").read_text(), re.M)
    assert found
    return bool(int(found[1], 16) >> SYS_NICE & 1)


@pytest.mark.skipif(not may_raise(), reason="needs CAP_SYS_NICE")
def test_all_threads_and_the_session() -> None:
    said = raised(-3)
    assert "{-3}" in said
    assert "nice -3" in said or "no groups" in said


@pytest.mark.skipif(not may_raise(), reason="needs CAP_SYS_NICE")
def test_a_session_of_somebody_else_stays_as_it_is() -> None:
    said = raised(-3, own_session=False)
    assert "{-3}" in said
    assert "nice -3" not in said


def test_zero_leaves_it() -> None:
    said = raised(0)
    assert str(AS_IT_IS) in said
    assert "may not" not in said


def test_who_may_not_is_told_so_and_goes_on() -> None:
    without = ("setpriv", "--bounding-set", "-sys_nice", "--inh-caps", "-all")
    if os.geteuid() != 0:
        without = ()
    assert not without or shutil.which("setpriv")
    said = raised(-3, before=without)
    assert str(AS_IT_IS) in said
    assert "may not raise its priority (c.GPUDockerSpawner.hub_niceness)" in said
