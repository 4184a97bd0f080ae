"""Kernels that are really started, in ways that keep them from answering."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from server_ext.doctor.probing import PROBES_DIR, Probe, run_probe

IPYKERNEL = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]


def environment(home: Path) -> dict[str, str]:
    """What the kernel gets."""
    own = {name: value for name, value in os.environ.items() if name != "IPYTHONDIR"}
    return {**own, "HOME": str(home)}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def is_alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


async def start(folders: list[Path], home: Path, **asked: Any) -> dict[str, Any]:
    """What the probe tells."""
    question = {
        "argv": IPYKERNEL,
        "folders": [str(folder) for folder in folders],
        "files": False,
        "seconds": 20,
        **asked,
    }
    env = {**environment(home), "TMPDIR": str(home)}
    probe = Probe("start", "start", 60, (json.dumps(question),), rest=60)
    result = await run_probe(probe, [sys.executable, "-I"], env, "/")
    assert result.failure is None, result.failure
    return dict(result.value)


async def test_a_kernel_that_is_well_answers_and_leaves_nothing(tmp_path: Path) -> None:
    facts = await start([tmp_path], tmp_path)
    (tried,) = facts["folders"]
    assert tried["answered"] is True and tried["ended"] == "", tried
    assert "elsewhere" not in facts and "without_files" not in facts
    assert names(tmp_path) == [".ipython"]


async def test_a_folder_with_a_module_of_its_own(tmp_path: Path) -> None:
    bad, good = tmp_path / "bad", tmp_path / "good"
    for folder in (bad, good):
        folder.mkdir()
    (bad / "pathlib.py").write_text("raise RuntimeError('mine')")
    facts = await start([good, bad], tmp_path)
    assert [tried["answered"] for tried in facts["folders"]] == [True, False]
    assert facts["folders"][1]["ended"] == "ended with status 1"
    assert "RuntimeError: mine" in facts["folders"][1]["said"]
    assert facts["elsewhere"] is True


@pytest.mark.parametrize(
    ("text", "ended"),
    [
        ("import os; os._exit(7)", "ended with status 7"),
        ("import time; time.sleep(600)", ""),
        ("import os\nwhile True: os.write(1, b'x' * 65536)", ""),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "ended by SIGSEGV"),
    ],
)
async def test_start_up_code(tmp_path: Path, text: str, ended: str) -> None:
    startup = tmp_path / ".ipython" / "profile_default" / "startup"
    startup.mkdir(parents=True)
    (startup / "00.py").write_text(text)
    facts = await start([tmp_path], tmp_path, files=True, seconds=4)
    (tried,) = facts["folders"]
    assert tried["answered"] is False and tried["ended"] == ended, tried
    assert len(tried["said"]) <= 3000
    assert facts["without_files"] is True and "elsewhere" not in facts
    assert names(tmp_path) == [".ipython"]


@pytest.mark.parametrize(
    ("argv", "ended"),
    [
        (["/no/such/program"], "FileNotFoundError"),
        (["/"], "PermissionError"),
        (["a\0b"], "ValueError"),
        ([sys.executable, "-m", "ipykernel_launcherx", "-f", "{connection_file}"], "status 1"),
        ([sys.executable, "-c", "print('\\xff garbage')"], "status 0"),
    ],
)
async def test_a_command_that_is_no_kernel(tmp_path: Path, argv: list[str], ended: str) -> None:
    facts = await start([tmp_path], tmp_path, argv=argv)
    (tried,) = facts["folders"]
    assert tried["answered"] is False and ended in tried["ended"], tried
    assert facts["elsewhere"] is False


async def killed_in_the_middle(argv: list[str], home: Path) -> bool:
    """Starts something that hangs beneath it, kills it by a signal that nobody can catch, and says
    whether what hangs has ended, too.
    """
    note = home / "pid"
    code = (
        f"import os; open({str(note)!r}, 'w').write(str(os.getpid()))\nimport time; time.sleep(600)"
    )
    startup = home / ".ipython" / "profile_default" / "startup"
    startup.mkdir(parents=True)
    (startup / "00.py").write_text(code)
    (home / "hangs.py").write_text(code)
    env = {**environment(home), "PYTHONPATH": str(home)}
    process = await asyncio.create_subprocess_exec(*argv, env=env, stdout=asyncio.subprocess.PIPE)
    for _ in range(500):
        if note.exists() and note.read_text():
            break
        await asyncio.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    await process.communicate()
    for _ in range(250):
        if not is_alive(int(note.read_text())):
            return True
        await asyncio.sleep(0.05)
    os.kill(int(note.read_text()), signal.SIGKILL)
    return False


async def test_killed_in_the_middle_it_leaves_no_kernel(tmp_path: Path) -> None:
    question = {"argv": IPYKERNEL, "folders": [str(tmp_path)], "files": False, "seconds": 60}
    probe = [sys.executable, "-I", str(PROBES_DIR / "run_probe.py"), "start", json.dumps(question)]
    assert await killed_in_the_middle(probe, tmp_path)


@pytest.mark.parametrize("script", ["imports", "extensions"])
async def test_a_doctor_that_is_killed_leaves_no_probe_that_hangs(
    tmp_path: Path, script: str
) -> None:
    run = [sys.executable, str(PROBES_DIR / "run_probe.py"), script, "hangs"]
    doctor = [sys.executable, "-c", f"import subprocess; subprocess.run({run!r}); print()"]
    assert await killed_in_the_middle(doctor, tmp_path)
