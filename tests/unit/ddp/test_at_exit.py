"""What gpucamp adds to the end of a rank: a moment for gloo's threads, and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from server_ext.ddp.launch_plan import AT_EXIT

SCRIPT = """
import atexit, sys, time
time.sleep = lambda seconds: print("waits", seconds)
if "distributed" in sys.argv:
    sys.modules["torch.distributed"] = sys
atexit.register(print, "the script's own")
print(sys.modules["sitecustomize"].__name__, any(path.endswith("at_exit") for path in sys.path))
"""


def run(tmp_path: Path, *words: str, path: str = "", **variables: str) -> list[str]:
    environ = {**os.environ, "PYTHONPATH": f"{AT_EXIT}{os.pathsep}{path}", **variables}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *words],
        env=environ,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout.splitlines()


RANK = {"RANK": "0"}


def test_a_rank_waits_last_of_all(tmp_path: Path) -> None:
    said = run(tmp_path, "distributed", **RANK)
    assert said == ["sitecustomize False", "the script's own", "waits 0.05"]


def test_nothing_else_waits(tmp_path: Path) -> None:
    assert "waits 0.05" not in run(tmp_path, "distributed")
    assert "waits 0.05" not in run(tmp_path, **RANK)


def test_the_environments_own_is_imported_and_may_change_the_path(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "sitecustomize.py").write_text(
        "import sys\nprint('own')\nsys.path.append('/added')\n"
    )
    said = run(tmp_path, "distributed", path=str(tmp_path / "own"), **RANK)
    assert said[0] == "own" and said[-1] == "waits 0.05"


def test_one_that_fails_fails_as_it_would_have(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import there_is_no_such_module\n")
    environ = {**os.environ, "PYTHONPATH": f"{AT_EXIT}{os.pathsep}{tmp_path}", **RANK}
    done = subprocess.run(
        [sys.executable, "-c", "print('goes on')"], env=environ, capture_output=True, text=True
    )
    assert "there_is_no_such_module" in done.stderr and done.stdout == "goes on\n"


@pytest.mark.parametrize(
    ("script", "written"),
    [
        ("pass", "0"),
        ("import sys; sys.exit()", "0"),
        ("import sys; sys.exit(0)", "0"),
        ("import sys; sys.exit(3)", "3"),
        ("import sys; sys.exit('what is wrong')", "1"),
        ("raise ValueError", "1"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", None),
        # its own children write nothing
        (
            "import subprocess, sys\n"
            "done = subprocess.run([sys.executable, '-c', 'import sys; sys.exit(8)'])\n"
            "sys.exit(done.returncode - 1)",
            "7",
        ),
    ],
)
def test_the_agent_leaves_its_exit_code(tmp_path: Path, script: str, written: str | None) -> None:
    path = tmp_path / "exit-code"
    environ = {**os.environ, "PYTHONPATH": AT_EXIT, "GPUCAMP_DDP_EXIT_CODE": str(path)}
    done = subprocess.run([sys.executable, "-c", script], env=environ, capture_output=True)
    assert (path.read_text() if path.exists() else None) == written
    assert done.returncode == (-9 if written is None else int(written))
    assert [each.name for each in tmp_path.iterdir()] == (["exit-code"] if written else [])


def test_a_rank_and_an_agent_without_room_leave_none(tmp_path: Path) -> None:
    path = tmp_path / "there is no such folder" / "exit-code"
    for name, variables in ((tmp_path / "exit-code", RANK), (path, {})):
        environ = {**os.environ, "PYTHONPATH": AT_EXIT, "GPUCAMP_DDP_EXIT_CODE": str(name)}
        script = "import os; assert 'GPUCAMP_DDP_EXIT_CODE' not in os.environ"
        done = subprocess.run(
            [sys.executable, "-c", script], env={**environ, **variables}, capture_output=True
        )
        assert (done.returncode, done.stderr) == (0, b"")
        assert not name.exists()
