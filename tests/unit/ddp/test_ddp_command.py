"""gpucamp-ddp: its options, and what it says of what it does not take."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from server_ext.ddp import command_line

AGENT = Path(__file__).with_name("stand_in_agent.py")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, where torchrun is the stand-in agent."""
    launcher = tmp_path / "bin" / "torchrun"
    launcher.parent.mkdir()
    launcher.write_text(f'#!/bin/sh\nexec {sys.executable} {AGENT} "$@"\n')
    launcher.chmod(0o755)
    monkeypatch.setattr(command_line, "kernel_python", lambda: str(launcher.with_name("python")))
    monkeypatch.setenv("PATH", f"{launcher.parent}:/usr/bin:/bin")
    monkeypatch.setenv("GPUCAMP_WORK", str(tmp_path / "work"))
    monkeypatch.setenv("LANG", "C")
    (tmp_path / "train.py").write_text("x = 1\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def record(folder: Path) -> dict[str, object]:
    [file] = (folder / "work" / ".gpucamp" / "runs").glob("*/run.json")
    return dict(json.loads(file.read_text()))


def test_its_options_are_the_runs(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    words = ["-n", "2", "-e", "SEED=a b", "--env", "EMPTY=", "--max-restarts", "1"]
    words += ["--local-ranks-filter", "0", "train.py", "seconds=0.1", "-n", "x"]
    assert command_line.main(words) == 0
    run = record(folder)
    assert run["environment"] == {"SEED": "a b", "EMPTY": ""}
    assert (run["max_restarts"], run["hidden_ranks"]) == (1, [1])
    assert run["arguments"] == ["seconds=0.1", "-n", "x"]
    assert "$ torchrun --standalone" in capfd.readouterr().err


# main() where a tracker may take as long as it likes
PATIENT = """
import sys
from server_ext.ddp import command_line
from server_ext.ddp.trackers import forwarder
command_line.FINISH_SECONDS = forwarder.FINISH_SECONDS = 600
python = sys.argv.pop(1)
command_line.kernel_python = lambda: python
sys.exit(command_line.main())
"""


def test_ctrl_c_ends_the_wait_for_a_tracker_that_hangs(folder: Path) -> None:
    (folder / "bin" / "python").symlink_to(sys.executable)
    paths = f"{Path(__file__).parents[3]}:{Path(__file__).with_name('tracker_packages')}"
    tracker = {"WANDB_API_KEY": "x", "WANDB_STAND_IN": "hangs", "TRACKER_CALLS": "calls"}
    words = [str(folder / "bin" / "python"), "-n", "1", "train.py"]
    with subprocess.Popen(
        [sys.executable, "-c", PATIENT, *words],
        env={**os.environ, "PYTHONPATH": paths, **tracker},
        stderr=subprocess.PIPE,
        text=True,
    ) as command:
        try:
            assert command.stderr is not None
            said = ""
            while not said.endswith(": succeeded\n"):
                line = command.stderr.readline()
                assert line, said
                said += line
            deadline = time.monotonic() + 60
            while command.poll() is None and time.monotonic() < deadline:
                command.send_signal(signal.SIGINT)
                time.sleep(0.5)
            assert command.poll() is not None
            assert "Weights & Biases: " in command.stderr.read()
        finally:
            command.kill()
            for name in filter(str.isdigit, os.listdir("/proc")):
                if _runs_in(folder, name):
                    os.kill(int(name), signal.SIGKILL)


def _runs_in(folder: Path, pid: str) -> bool:
    """Whether a process is the program of a tracker that was started from a folder."""
    try:
        said = Path(f"/proc/{pid}/cmdline").read_bytes()
        return b"write_points.py" in said and Path(f"/proc/{pid}/cwd").samefile(folder)
    except OSError:
        return False


def test_a_notebook_is_made_a_script(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    cells = [{"cell_type": "code", "source": "x = 1\n!ls"}]
    (folder / "book.ipynb").write_text(json.dumps({"cells": cells}))
    assert command_line.main(["-n", "1", "book.ipynb"]) == 0
    assert str(record(folder)["command"]).endswith("/book.py")
    assert "! [1:2] !ls" in capfd.readouterr().err
    cells[0]["source"] = "!make"
    (folder / "book.ipynb").write_text(json.dumps({"cells": cells}))
    assert command_line.main(["book.ipynb"]) == 2
    said = capfd.readouterr().err
    assert "! [1:1] !make" in said and "No script was made of book.ipynb" in said


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["missing.py"], "does not exist"),
        (["-n", "1000", "train.py"], "whole number from 1 to"),
        (["-n", "0", "train.py"], "whole number from 1 to"),
        (["-e", "A", "train.py"], "--env needs NAME=VALUE"),
        (["-e", "RANK=1", "train.py"], "cannot be set here"),
        (["--local-ranks-filter", "all", "train.py"], "needs numbers"),
        (["--local-ranks-filter", "64", "train.py"], "list of ranks"),
        (["--max-restarts", "-1", "train.py"], "from 0 to 10"),
        (["-m", "train.py/x"], "name of a Python module"),
        (["-m", "bin"], ""),
    ],
)
def test_refused_without_a_run(
    folder: Path, words: list[str], says: str, capfd: pytest.CaptureFixture[str]
) -> None:
    if not says:
        (folder / "bin" / "__init__.py").touch()
        says = "without __main__.py"
    assert command_line.main(words) == 2
    assert says in capfd.readouterr().err
    assert not (folder / "work").exists()


def test_a_plain_script_gets_ddps_wrapping(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    plain = Path(__file__).parent / "plain" / "top_level.py"
    (folder / "t.py").write_text(plain.read_text())
    assert command_line.main(["--make-ddp", "t.py"]) == 0
    said = capfd.readouterr()
    assert said.out.startswith("--- t.py") and "→ t_ddp.py" in said.err
    assert "DistributedDataParallel" in (folder / "t_ddp.py").read_text()
    assert command_line.main(["--make-ddp", "train.py"]) == 2
    assert "no backward()" in capfd.readouterr().err
    assert not (folder / "work").exists()
