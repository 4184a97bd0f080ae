"""Two set-ups at once: the second waits, and a killed one holds nothing."""

from __future__ import annotations

import io
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from setup_host import locks
from setup_host.progress import Progress

_HOLD = """
import sys, time; sys.path.insert(0, sys.argv[2])
from pathlib import Path
from setup_host.locks import only_one
from setup_host.progress import Progress
with only_one(Path(sys.argv[1]), Progress()):
    print("held", flush=True)
    time.sleep(60)
"""


def _holder(spawn: Callable[..., subprocess.Popen[bytes]], lock: Path) -> subprocess.Popen[bytes]:
    root = str(Path(locks.__file__).parents[1])
    process = spawn(sys.executable, "-c", _HOLD, str(lock), root, stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stdout.readline() == b"held\n"
    return process


def test_the_second_is_told_who_works_and_waits(
    tmp_path: Path,
    spawn: Callable[..., subprocess.Popen[bytes]],
    progress: Progress,
    said: io.StringIO,
) -> None:
    first = _holder(spawn, tmp_path / "lock")
    entered = threading.Event()

    def second() -> None:
        with locks.only_one(tmp_path / "lock", progress, look_seconds=0.05):
            entered.set()

    thread = threading.Thread(target=second)
    thread.start()
    assert not entered.wait(0.5)
    assert f"process {first.pid}" in said.getvalue()
    first.kill()  # not a clean end: the lock must not outlive it
    assert entered.wait(5)
    thread.join()


def test_one_after_the_other_needs_no_waiting(
    tmp_path: Path, progress: Progress, said: io.StringIO
) -> None:
    for _ in range(3):
        with locks.only_one(tmp_path / "new" / "lock", progress):
            pass
    assert said.getvalue() == "", "it does not say that it waits"


def test_a_child_does_not_inherit_the_lock(
    tmp_path: Path, progress: Progress, spawn: Callable[..., subprocess.Popen[bytes]]
) -> None:
    with locks.only_one(tmp_path / "lock", progress):
        spawn("sleep", "60")  # as the hub: it lives on
    with locks.only_one(tmp_path / "lock", progress):
        pass
