"""Running long commands: their log, their failure, their end by Ctrl-C."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from setup_host import progress as module
from setup_host.errors import SetupError
from setup_host.processes import record_of
from setup_host.progress import Progress, duration


def _run(progress: Progress, log: Path, code: str, **options: bool) -> None:
    progress.run(["sh", "-c", code], log=log, problem="It failed.", remedy="Try x.", **options)


def test_output_goes_to_the_log_and_not_to_the_screen(
    progress: Progress, said: io.StringIO, tmp_path: Path
) -> None:
    _run(progress, tmp_path / "new" / "log", "echo one; echo two >&2")
    _run(progress, tmp_path / "new" / "log", "echo three")
    log = (tmp_path / "new" / "log").read_text()
    assert [line for line in log.splitlines() if line and line[0] != "$"] == ["one", "two", "three"]
    assert said.getvalue() == ""


def test_output_is_shown_where_asked(progress: Progress, said: io.StringIO, tmp_path: Path) -> None:
    _run(progress, tmp_path / "log", "echo one; echo two", show=True)
    assert said.getvalue().split() == ["one", "two"]


def test_a_failure_shows_the_end_of_its_own_output(progress: Progress, tmp_path: Path) -> None:
    log = tmp_path / "log"
    _run(progress, log, "echo an earlier command")
    with pytest.raises(SetupError) as failed:
        _run(progress, log, "seq 1 100; exit 7")
    assert "It failed. (exit status 7" in failed.value.problem
    assert str(log) in failed.value.problem
    assert failed.value.detail.splitlines()[-1] == "100"
    assert "earlier" not in failed.value.detail
    assert failed.value.remedy == "Try x."


def test_a_failure_with_a_known_cause_has_that_remedy(progress: Progress, tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="make room on the disk"):
        _run(progress, tmp_path / "log", "echo No space left on device; seq 1 50; exit 1")


def test_a_program_that_is_missing_is_no_traceback(progress: Progress, tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="no-such-program: No such file"):
        progress.run(["no-such-program"], log=tmp_path / "log", problem="P", remedy="R")


def test_a_daemon_that_the_command_leaves_behind_does_not_hold_it_up(
    progress: Progress, tmp_path: Path
) -> None:
    begun = time.monotonic()
    _run(progress, tmp_path / "log", f"sleep 60 & echo $! > {tmp_path}/pid")
    assert time.monotonic() - begun < 10
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)


def test_silence_shows_a_sign_of_life(
    progress: Progress, said: io.StringIO, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "HEARTBEAT_SECONDS", 0.5)
    monkeypatch.setattr(module, "_LOOK_SECONDS", 0.05)
    _run(progress, tmp_path / "log", "echo Downloading torch; sleep 1.6")
    assert said.getvalue().count("Downloading torch") >= 2


def test_ctrl_c_ends_the_command_and_its_children(
    tmp_path: Path, spawn: Callable[..., subprocess.Popen[bytes]]
) -> None:
    code = f"""
import signal, sys; sys.path.insert(0, {str(Path(module.__file__).parents[1])!r})
from pathlib import Path
from setup_host import progress
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in a shell's background job
progress.GRACE_SECONDS = 0.5  # a child in the background of `sh` ignores SIGINT
progress.Progress().run(["sh", "-c", "sleep 300 & echo $! > {tmp_path}/child; wait"],
               log=Path("{tmp_path}/log"), problem="P", remedy="R")
"""
    setup = spawn(sys.executable, "-c", code, stderr=subprocess.DEVNULL)
    child = tmp_path / "child"
    deadline = time.monotonic() + 20
    while not (child.exists() and child.read_text().strip()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    pid = int(child.read_text())
    assert record_of(pid) is not None
    setup.send_signal(signal.SIGINT)
    assert setup.wait(30) != 0
    deadline = time.monotonic() + 20
    while record_of(pid) is not None:
        assert time.monotonic() < deadline, "a child outlived Ctrl-C"
        time.sleep(0.05)


@pytest.fixture
def ctrl_c_is_heard() -> Iterator[None]:
    """A shell's background job, which tests may be, ignores SIGINT from its start."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c_is_heard")
def test_ctrl_c_while_a_command_starts_does_not_forget_it(
    progress: Progress, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[subprocess.Popen[bytes]] = []
    real = subprocess.Popen

    def interrupted(*args: Any, **options: Any) -> subprocess.Popen[bytes]:
        started.append(real(*args, **options))
        signal.raise_signal(signal.SIGINT)
        return started[0]

    monkeypatch.setattr(subprocess, "Popen", interrupted)
    with pytest.raises(KeyboardInterrupt):
        _run(progress, tmp_path / "log", "exec sleep 300")
    assert started[0].returncode == -signal.SIGINT


def test_the_work_goes_on_when_nobody_reads_any_more(tmp_path: Path) -> None:
    code = f"""
import sys, time; sys.path.insert(0, sys.argv[1])
from setup_host.progress import Progress
progress = Progress()
for _ in range(20):
    progress.say("x" * 10000)
open("{tmp_path}/done", "w").close()
"""
    (tmp_path / "code.py").write_text(code)
    root = Path(module.__file__).parents[1]
    command = f"{sys.executable} {tmp_path}/code.py {root} | head -c 10"
    result = subprocess.run(["sh", "-c", command], capture_output=True, timeout=30)
    assert (tmp_path / "done").exists()
    assert result.stderr == b""


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (119, "119 s"), (120, "2 min 00 s"), (605.4, "10 min 05 s")]
)
def test_durations_are_for_people(seconds: float, text: str) -> None:
    assert duration(seconds) == text
