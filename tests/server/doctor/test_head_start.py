"""What was started early counts only if it is what would be started; nothing is left of it."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from server_ext.doctor import adopted, head_start
from server_ext.doctor.head_start import HeadStart, begin
from server_ext.doctor.probing import PROBES_DIR, Probe, run_probe

ANSWER = r"""printf '\036gpucamp-probe {"a": 2}\n'"""
PROBE = Probe("p", "system", 5.0)


@pytest.fixture
def python(tmp_path: Path) -> Path:
    """A "Python" that says who it is, and answers."""
    return script(tmp_path, ANSWER)


def script(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "python"
    path.write_text(f"#!/bin/sh\necho $$ >> {tmp_path}/pids\n{text}\n")
    path.chmod(0o755)
    return path


def start(python: Path, env: dict[str, str] | None = None) -> HeadStart:
    argv = [str(python), str(PROBES_DIR / "run_probe.py"), "system"]
    return HeadStart(argv, {"A": "1"} if env is None else env, "/")


def pids(tmp_path: Path, count: int) -> list[int]:
    """Of all that ran, once there are so many."""
    deadline = time.monotonic() + 20
    file = tmp_path / "pids"
    while not file.exists() or len(file.read_text().splitlines()) < count:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return [int(line) for line in file.read_text().splitlines()]


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def gone(pid: int) -> bool:
    deadline = time.monotonic() + 20
    while lives(pid):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    yield
    with pytest.raises(ChildProcessError):  # no child, not even a dead one
        for _ in range(200):
            os.waitpid(-1, os.WNOHANG)
            time.sleep(0.01)


async def test_its_answer_is_the_probes_and_nothing_else_is_started(
    python: Path, tmp_path: Path
) -> None:
    before = open_files()
    early = start(python)
    result = await run_probe(PROBE, [str(python)], {"A": "1"}, "/", early=early)
    assert result.value == {"a": 2} and result.failure is None
    assert pids(tmp_path, 1) == [early.pid]
    early.end()
    async with asyncio.timeout(20):  # it is killed, and nobody waits until it is gone
        while open_files() != before or not gone(early.pid):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    again = await run_probe(PROBE, [str(python)], {"A": "1"}, "/", early=early)
    assert again.value == {"a": 2} and len(pids(tmp_path, 2)) == 2


@pytest.mark.parametrize(
    ("options", "env", "cwd"),
    [
        (["-X", "dev"], {"A": "1"}, "/"),
        ([], {"A": "2"}, "/"),
        ([], {"A": "1", "LD_LIBRARY_PATH": "/x"}, "/"),
        ([], {}, "/"),
        ([], {"A": "1"}, "/tmp"),
    ],
)
async def test_another_one_is_ended_and_the_right_one_started(
    tmp_path: Path, options: list[str], env: dict[str, str], cwd: str
) -> None:
    python = script(tmp_path, f'[ "$(wc -l < {tmp_path}/pids)" = 1 ] && sleep 600\n{ANSWER}')
    early = start(python)
    assert lives(pids(tmp_path, 1)[0])
    result = await run_probe(PROBE, [str(python), *options], env, cwd, early=early)
    assert result.value == {"a": 2}
    assert gone(early.pid) and pids(tmp_path, 2)[1] != early.pid


@pytest.mark.parametrize("text", ["sleep 600", "sleep 600 & sleep 600", "yes", "trap '' TERM; cat"])
async def test_limits_hold_for_it(tmp_path: Path, text: str) -> None:
    python = script(tmp_path, text)
    early = start(python)
    probe = Probe("p", "system", 0.5)
    result = await run_probe(probe, [str(python)], {"A": "1"}, "/", early=early)
    assert result.failure is not None
    assert result.failure.kind in ("timeout", "flood", "garbage")
    assert gone(early.pid)


async def test_how_it_ends_is_told(tmp_path: Path) -> None:
    for text, code in (("exit 3", 3), ("kill -SEGV $$", -11)):
        python = script(tmp_path, text)
        result = await run_probe(PROBE, [str(python)], {"A": "1"}, "/", early=start(python))
        assert result.failure is not None
        assert (result.failure.kind, result.failure.exit_code) == ("crashed", code)


@pytest.mark.parametrize("seconds", [0.0, 0.001, 0.01, 0.2])
async def test_it_ends_with_whoever_waits_for_it(tmp_path: Path, seconds: float) -> None:
    python = script(tmp_path, "sleep 600 & sleep 600")
    before = open_files()
    early = start(python)
    task = asyncio.create_task(run_probe(PROBE, [str(python)], {"A": "1"}, "/", early=early))
    await asyncio.sleep(seconds)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    early.end()
    await asyncio.sleep(0)
    assert gone(early.pid) and open_files() == before


async def test_it_ends_when_it_cannot_be_adopted(tmp_path: Path, monkeypatch: Any) -> None:
    async def refused(*_: Any) -> None:
        raise asyncio.CancelledError

    python = script(tmp_path, "sleep 600")
    before = open_files()
    early = start(python)
    monkeypatch.setattr(adopted, "_reader", refused)
    with pytest.raises(asyncio.CancelledError):
        await run_probe(PROBE, [str(python)], {"A": "1"}, "/", early=early)
    assert gone(early.pid) and open_files() == before


def test_one_that_nobody_asks_for_is_ended(tmp_path: Path) -> None:
    before = open_files()
    early = start(script(tmp_path, "sleep 600 & wait"))
    pids(tmp_path, 1)
    early.end()
    early.end()
    assert gone(early.pid) and open_files() == before


@pytest.mark.parametrize("problem", ["missing", "a folder", "not a program", "not allowed"])
def test_what_cannot_be_executed_is_left_to_the_examination(tmp_path: Path, problem: str) -> None:
    python = tmp_path / "python"
    if problem == "a folder":
        python.mkdir()
    elif problem != "missing":
        python.write_text("nonsense")
        python.chmod(0o755 if problem == "not a program" else 0o644)
    before = open_files()
    with pytest.raises(OSError, match="python"):
        start(python)
    assert open_files() == before


# -- the guess


@pytest.fixture
def prefix(tmp_path: Path, monkeypatch: Any, python: Path) -> Path:
    """The base environment of an image whose kernel is that Python."""
    base = tmp_path / "image" / "base"
    kernel = base / "share/jupyter/kernels/python3"
    kernel.mkdir(parents=True)
    argv = [str(python), "-Xfrozen_modules=off", "-m", "ipykernel_launcher", "-f", "{x}"]
    (kernel / "kernel.json").write_text(json.dumps({"argv": argv}))
    monkeypatch.setattr(head_start.sys, "prefix", str(base))
    return base


def test_torchs_probe_for_the_images_kernel_is_guessed(prefix: Path, python: Path) -> None:
    environ = {"PATH": "/bin", "JUPYTERHUB_API_TOKEN": "t", "PYTHONEXECUTABLE": "/x"}
    early = begin(["--json"], environ)
    assert early is not None
    early.end()
    record = str(prefix.parent / "torch-deferred.json")
    probe = [str(PROBES_DIR / "run_probe.py"), "imports", "torch", "--record", record]
    assert early.argv == [str(python), "-Xfrozen_modules=off", *probe]
    assert early.env == {"PATH": "/bin", "JUPYTER_PREFER_ENV_PATH": "1"} and early.cwd == "/"


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["--kernel", "python3"], ["--pid", "1"], ["--repair"], ["--performance"], ["x"]],
)
def test_whoever_asks_for_something_else_gets_nothing_early(
    prefix: Path, arguments: list[str], tmp_path: Path
) -> None:
    assert begin(arguments, {}) is None
    assert not (tmp_path / "pids").exists()


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"argv": 3}', '{"argv": [3, "-m"]}', '{"argv":["-m"]}']
)
def test_a_broken_spec_is_left_to_the_examination(prefix: Path, text: str) -> None:
    (prefix / "share/jupyter/kernels/python3/kernel.json").write_text(text)
    assert begin([], {}) is None


@pytest.mark.parametrize("end", ["argument", "term"])
def test_the_command_leaves_nothing_when_it_ends_before_the_examination(
    tmp_path: Path, end: str
) -> None:
    """In a process of its own, whose command line is a stand-in that ends at once or waits."""
    driver = """
import os, sys, types
from server_ext.doctor import head_start, launcher
python, pids, end = sys.argv[1:]
head_start.begin = lambda arguments, environ: head_start.HeadStart([python], dict(environ), "/")
stand_in = types.ModuleType("server_ext.doctor.command_line")
def main(early):
    while not os.path.exists(pids) or not os.path.getsize(pids):
        pass
    if end == "argument":
        sys.exit(2)
    print("ready", flush=True)
    import time
    time.sleep(600)
stand_in.main = main
sys.modules[stand_in.__name__] = stand_in
sys.exit(launcher.main())
"""
    python = script(tmp_path, "sleep 600")
    command = [sys.executable, "-c", driver, str(python), str(tmp_path / "pids"), end]
    env = {name: v for name, v in os.environ.items() if not name.startswith("PYTHON")}
    root = str(Path(__file__).parents[3])
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=env, cwd=root) as process:
        if end == "term":
            assert process.stdout is not None and process.stdout.readline() == b"ready\n"
            process.terminate()
        assert process.wait(60) == (2 if end == "argument" else 143)
    assert gone(pids(tmp_path, 1)[0])
