"""The command ends, with its processes, when whoever started it is gone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

# a work that starts a process of its own, says so, and ends it however it ends itself
PROGRAM = """
import asyncio, os, sys
from server_ext.doctor import leash

async def work():
    child = await asyncio.create_subprocess_exec("sleep", "300")
    print(child.pid, leash.ATTACHED in os.environ, flush=True)
    try:
        await asyncio.sleep(float(sys.argv[1]))
    finally:
        child.kill()
        await child.wait()
    return 0

try:
    sys.exit(asyncio.run(leash.held(work(), os.environ)))
except leash.LetGo:
    sys.exit(143)
"""


def start(
    seconds: str = "300", *, attached: bool, stdin: int = subprocess.PIPE
) -> subprocess.Popen[str]:
    environment = {**os.environ, **({"GPUCAMP_DOCTOR_ATTACHED": "1"} if attached else {})}
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, seconds],
        env=environment,
        stdin=stdin,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[3],
    )


def child_of(program: subprocess.Popen[str]) -> int:
    assert program.stdout is not None
    pid, inherited = program.stdout.readline().split()
    assert inherited == "False", "a kernel would inherit the variable"
    return int(pid)


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_it_ends_when_the_other_end_of_its_input_is_gone() -> None:
    with start(attached=True) as program:
        child = child_of(program)
        assert program.stdin is not None
        program.stdin.write("what is said here counts for nothing\n")
        program.stdin.flush()
        time.sleep(0.2)
        assert program.poll() is None
        program.stdin.close()
        assert program.wait(20) == 143
    assert is_gone(child)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_it_ends_when_it_is_told_to(number: signal.Signals) -> None:
    with start(attached=False) as program:
        child = child_of(program)
        program.send_signal(number)
        assert program.wait(20) == 143
    assert is_gone(child)


def test_in_a_terminal_the_end_of_its_input_means_nothing() -> None:
    with start("0.5", attached=False) as program:
        child_of(program)
        assert program.stdin is not None
        program.stdin.close()
        assert program.wait(20) == 0


@pytest.mark.parametrize("kind", ["/dev/null", "a file"])
def test_an_input_that_cannot_be_watched_is_no_reason_to_fail(kind: str, tmp_path: Path) -> None:
    file = tmp_path / "input"
    file.write_text("x")
    with (file if kind == "a file" else Path(kind)).open() as stream:
        program = start("0.2", attached=True, stdin=stream.fileno())
    with program:
        child_of(program)
        assert program.wait(20) == 0
