"""The stacks of real processes, and of programs that are not py-spy."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from server_ext.ddp import stacks
from server_ext.ddp.places import place_of

pytestmark = pytest.mark.timeout(60)

SLEEPER = """
import time
def outer():
    inner()
def inner():
    print("ready", flush=True)
    time.sleep(100)
outer()
"""
Starter = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture(autouse=True)
def without_yama(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the tests' own host allows does not colour their answers."""
    monkeypatch.setattr(stacks, "YAMA", str(tmp_path / "no-yama"))


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Starter]:
    """start(source) -> a Python process that has said "ready"."""
    started: list[subprocess.Popen[bytes]] = []

    def begin(source: str) -> subprocess.Popen[bytes]:
        path = tmp_path / "script.py"
        path.write_text(source)
        process = subprocess.Popen([sys.executable, str(path)], stdout=subprocess.PIPE)
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def program(tmp_path: Path, text: str) -> str:
    """A program that is started instead of py-spy."""
    path = tmp_path / "not-py-spy"
    path.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/pid\n{text}\n")
    path.chmod(0o755)
    return str(path)


def is_gone(pid: int) -> bool:
    deadline = time.monotonic() + 5
    while os.path.exists(f"/proc/{pid}"):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def wait_for(path: Path) -> None:
    """Until a file is there and has something in it."""
    while not path.exists() or not path.read_text():
        time.sleep(0.02)


def state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


async def test_a_sleeping_process(start: Starter, tmp_path: Path) -> None:
    process = start(SLEEPER)
    found = await stacks.dump(process.pid, stacks.find_py_spy())
    assert found.problem == ""
    [thread] = [one for one in found.threads if one.main]
    assert [frame.name for frame in thread.frames] == ["inner", "outer", "<module>"]
    assert thread.frames[0].text == "time.sleep(100)"
    place = place_of(found.threads, "S", "")  # without the kernel's word
    assert (place.kind, place.where) == ("sleep", "script.py:7 in inner")


async def test_the_process_is_not_disturbed(start: Starter) -> None:
    """Not even by a dump that is cancelled at any moment: it counts on."""
    process = start(
        "import time\nprint('ready', flush=True)\n"
        "while True:\n    print(time.monotonic(), flush=True)\n    time.sleep(0.001)"
    )
    for index in range(30):
        task = asyncio.create_task(stacks.dump(process.pid, stacks.find_py_spy()))
        await asyncio.sleep(index * 0.001)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert state_of(process.pid) in "RS"
    assert process.stdout is not None
    last = time.monotonic()
    while float(process.stdout.readline()) < last:  # what it writes now comes, too
        pass


async def test_a_thread_beside_the_main_one(start: Starter) -> None:
    process = start(
        "import threading, time\n"
        "def work():\n    print('ready', flush=True)\n    time.sleep(100)\n"
        "thread = threading.Thread(target=work)\nthread.start()\nthread.join()"
    )
    found = await stacks.dump(process.pid, stacks.find_py_spy())
    assert len(found.threads) == 2
    assert place_of(found.threads, "S", "").kind == "lock"


async def test_a_process_that_has_gone_and_one_that_is_no_python(start: Starter) -> None:
    process = start(SLEEPER)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert (await stacks.dump(process.pid, stacks.find_py_spy())).problem == stacks.FAILED
    other = await asyncio.create_subprocess_exec("sleep", "60")
    try:
        assert (await stacks.dump(other.pid, stacks.find_py_spy())).problem == stacks.FAILED
    finally:
        other.kill()
        await other.wait()


@pytest.mark.parametrize("name", [None, "/nowhere/py-spy", "/etc/passwd"])
async def test_without_py_spy(name: str | None) -> None:
    assert (await stacks.dump(os.getpid(), name)).problem == stacks.MISSING


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("echo 'Permission Denied: Try running again with sudo' >&2; exit 1", stacks.NOT_ALLOWED),
        ("echo 'Error: EPERM: Operation not permitted' >&2; exit 1", stacks.NOT_ALLOWED),
        ("exit 3", stacks.FAILED),
        ("exit 0", stacks.FAILED),
        ("echo no json", stacks.FAILED),
        ("echo '[{}]'", stacks.FAILED),
        ("echo '{\"frames\": 1}'", stacks.FAILED),
        ('echo \'[{"frames": [{"name": "f", "filename": "a", "line": null}]}]\'', stacks.FAILED),
        ("yes 2>/dev/null", stacks.TOO_LONG),
        ("head -c 9000000 /dev/zero", stacks.FAILED),
        ("sleep 60 & sleep 60", stacks.TOO_LONG),
    ],
)
async def test_whatever_the_program_does(tmp_path: Path, text: str, problem: str) -> None:
    found = await stacks.dump(1, program(tmp_path, text), limit=1.5)
    assert (found.threads, found.problem) == ((), problem)
    assert is_gone(int((tmp_path / "pid").read_text()))


@pytest.mark.parametrize(
    ("scope", "problem"),
    [("0", stacks.FAILED), ("1", stacks.NOT_ALLOWED), ("3", stacks.NOT_ALLOWED)],
)
async def test_a_host_that_forbids_tracing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scope: str, problem: str
) -> None:
    yama = tmp_path / "ptrace_scope"
    yama.write_text(f"{scope}\n")
    monkeypatch.setattr(stacks, "YAMA", str(yama))
    assert (await stacks.dump(1, program(tmp_path, "exit 1"))).problem == problem


async def test_cancelled_it_leaves_nothing(tmp_path: Path) -> None:
    task = asyncio.create_task(stacks.dump(1, program(tmp_path, "sleep 60")))
    await asyncio.to_thread(wait_for, tmp_path / "pid")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert is_gone(int((tmp_path / "pid").read_text()))


@pytest.mark.parametrize("kind", ["fifo", "folder", "missing", "binary", "short"])
def test_a_script_that_cannot_be_read_has_no_text(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "odd.py"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "binary":
        path.write_bytes(b"\xff\xfe\0" * 1000)
    elif kind == "short":
        path.write_text("x\n")
    text = stacks._line(os.getpid(), str(path), 1 if kind == "binary" else 7)
    assert len(text) <= stacks.LINE_CHARACTERS and (text == "" or kind == "binary")
