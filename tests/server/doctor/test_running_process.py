"""What is told of processes: by the probe that reads /proc, and by `gpucamp-doctor --pid`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from server_ext.doctor.probing import MARK, PROBES_DIR
from server_ext.doctor.secret_variables import SECRET

WAIT = "import sys, time; print('ready', flush=True); time.sleep(600)"


def maps(library: Path) -> str:
    """The code of a program that has a library loaded, as far as /proc tells."""
    return f"import mmap; f = open({str(library)!r}, 'rb'); m = mmap.mmap(f.fileno(), 0, prot=1); "


@contextmanager
def process(*argv: str, **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A program that has said that it is ready."""
    started = subprocess.Popen(argv, stdout=subprocess.PIPE, start_new_session=True, **options)
    try:
        assert started.stdout is not None
        assert started.stdout.readline() == b"ready\n"
        yield started
    finally:
        os.killpg(started.pid, signal.SIGKILL)
        started.communicate()


def probe(*arguments: str, **options: Any) -> dict[str, Any]:
    argv = [sys.executable, "-I", "-S", str(PROBES_DIR / "run_probe.py"), "running", *arguments]
    done = subprocess.run(argv, capture_output=True, check=True, timeout=60, **options)
    return json.loads(done.stdout.rpartition(MARK)[2])


def one(pid: int, word: str = "", said: str = "", **options: Any) -> dict[str, Any]:
    return probe("one", str(pid), word, said, SECRET.pattern, **options)


def test_what_is_told_of_a_process(tmp_path: Path) -> None:
    library = tmp_path / "site-packages" / "libcudart.so.12"
    library.parent.mkdir()
    library.write_bytes(b"x" * 4096)
    code = maps(library) + WAIT
    env = {**os.environ, "MINE": "1", "MY_TOKEN": "hush", "LONG": "x" * 40000}
    with process(sys.executable, "-c", code, env=env, cwd=tmp_path) as running:
        facts = one(running.pid)
        assert facts["state"] == "alive" and facts["cwd"] == str(tmp_path)
        assert facts["executable"] == os.path.realpath(sys.executable)
        assert facts["environ"]["MINE"] == "1"
        assert not {"MY_TOKEN", "LONG"} & set(facts["environ"])
        assert "hush" not in json.dumps(facts["environ"])
        assert facts["libraries"] == [{"path": str(library), "deleted": False}]
        assert facts["deleted"] == [] and facts["gpu"] is False
        library.unlink()
        library.write_bytes(b"y" * 4096)
        facts = one(running.pid)
        assert facts["libraries"] == [{"path": str(library), "deleted": True}]
        assert facts["deleted"] == [str(library)]


def test_a_python_that_was_replaced(tmp_path: Path) -> None:
    copy = tmp_path / "program"
    copy.write_bytes(Path("/bin/sleep").read_bytes())
    copy.chmod(0o755)
    with process("sh", "-c", f"echo ready; exec {copy} 600") as running:
        deadline = time.monotonic() + 30
        while os.readlink(f"/proc/{running.pid}/exe") != str(copy):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        copy.unlink()
        facts = one(running.pid)
        assert facts["executable"] == str(copy) and facts["executable_deleted"] is True


def test_secrets_of_a_command_line_are_not_told() -> None:
    secrets = ("--api-key", "hush1", "--hf-token=hush2", "WANDB_API_KEY=hush3", "--lr", "0.1")
    with process(sys.executable, "-c", WAIT, *secrets) as running:
        argv = one(running.pid)["argv"]
    told = ["--api-key", "***", "--hf-token=***", "WANDB_API_KEY=***", "--lr", "0.1"]
    assert argv[3:] == told


def test_a_process_that_has_ended() -> None:
    ended = subprocess.Popen(["true"])
    os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
    zombie = one(ended.pid)
    assert zombie["state"] == "ended" and "zombie" in zombie["detail"]
    ended.wait()
    assert one(ended.pid) == {"pid": ended.pid, "state": "ended"}


def test_a_process_of_another_user() -> None:
    pid, become = (os.getpid(), "os.setuid(65534)") if os.getuid() == 0 else (1, "pass")
    code = (
        f"import json, os, re, sys; sys.path.insert(0, {str(PROBES_DIR)!r}); import running\n"
        f"{become}\nprint(json.dumps(running.one({pid}, re.compile('x'))))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, timeout=60)
    facts = json.loads(done.stdout)
    assert facts["state"] == "foreign" and "environ" not in facts


def test_the_kernel_among_a_family() -> None:
    python = sys.executable
    ready = 'print("ready", flush=True)'
    start = f"{python} -m timeit -s '{ready}' 'import time; time.sleep(600)' the-word & wait"
    with process("sh", "-c", start) as shell:
        found = one(shell.pid, "the-word")
        assert found["pid"] != shell.pid and found["argv"][0] == python
        assert one(shell.pid, "another-word")["pid"] == shell.pid
        assert one(shell.pid, "the-word", str(found["pid"]))["pid"] == found["pid"]
        # what a process says of itself counts only if it is of the family
        assert one(shell.pid, "the-word", str(os.getpid()))["pid"] == found["pid"]


def test_who_uses_the_gpu(tmp_path: Path) -> None:
    library = tmp_path / "libcuda.so.1"
    library.write_bytes(b"x" * 4096)
    code = maps(library) + WAIT
    with process(sys.executable, "-c", code) as user, process(sys.executable, "-c", WAIT) as other:
        facts = probe("all", f"{user.pid}:", f"{other.pid}:")
        assert [row["gpu"] for row in facts["kernels"]] == [True, False]
        assert facts["kernels"][0]["resident_bytes"] > 0
        assert user.pid not in {program["pid"] for program in facts["programs"]}
        facts = probe("all")
        (found,) = [each for each in facts["programs"] if each["pid"] == user.pid]
        assert found["parent"] == os.getpid()
    assert probe("all", f"{user.pid}:")["kernels"][0]["gone"] is True


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        ("", {"torch": None, "error": None}),
        ("os.environ = None", {"error": "TypeError"}),
        ("sys.modules['torch'] = 'text'", {"error": "AttributeError"}),
        (
            "sys.modules['torch'] = types.ModuleType('torch')",
            {"torch": {"error": "AttributeError"}},
        ),
        ("torch(Unknown())", {"unread": "AttributeError"}),
        ("torch(Stats('CUDA error: device-side assert triggered'))", {"error": True}),
    ],
)
def test_what_a_kernel_answers_raises_nothing(before: str, expected: dict[str, Any]) -> None:
    code = f"""
import json, os, runpy, sys, time, types
answer = runpy.run_path({str(PROBES_DIR / "in_kernel.py")!r})["answer"]
class Unknown: pass
class Stats:
    def __init__(self, text): self.text = text
    def memory_stats(self, index): raise RuntimeError(self.text)
    is_initialized, device_count = (lambda self: True), (lambda self: 1)
Unknown.is_initialized, Unknown.device_count = Stats.is_initialized, Stats.device_count
def torch(cuda):
    off = types.SimpleNamespace(cudnn=types.SimpleNamespace(benchmark=False))
    found = types.ModuleType("torch")
    found.version, found.backends, found.cuda = types.SimpleNamespace(cuda="1"), off, cuda
    sys.modules["torch"] = found
{before}
print(answer(["PATH"], time.time() + 60))
assert answer(["PATH"], time.time() - 1) == "{{}}"
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, text=True, timeout=60
    )
    facts = json.loads(done.stdout)
    for name in ("unread", "error"):
        if "torch" in facts and "devices" in facts["torch"]:
            facts[name] = facts["torch"]["devices"][0].get(name)
    for name, value in expected.items():
        assert bool(facts.get(name)) if value is True else facts.get(name) == value, facts


def doctor(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "HOME": str(tmp_path), "OMP_NUM_THREADS": "1"}
    argv = [sys.executable, "-m", "server_ext.doctor.command_line", *arguments]
    return subprocess.run(argv, env=env, capture_output=True, text=True, timeout=100, check=False)


def test_a_process_is_examined_in_a_terminal(tmp_path: Path) -> None:
    env = {**os.environ, "OMP_NUM_THREADS": "5", "CUDA_VISIBLE_DEVICES": "-1"}
    with process(sys.executable, "-c", WAIT, env=env) as running:
        done = doctor(tmp_path, "--pid", str(running.pid), "--json")
    report = json.loads(done.stdout)
    assert report["kernel_id"] == f"process {running.pid}"
    variables = report["facts"]["environment"]["value"]["variables"]
    assert (variables["OMP_NUM_THREADS"], variables["CUDA_VISIBLE_DEVICES"]) == ("5", "-1")
    assert report["facts"]["kernelspec"]["value"]["executable"] == sys.executable
    codes = {finding["code"] for finding in report["findings"]}
    # it is killed only now
    assert not [code for code in codes if code.startswith("GC7")], report["findings"]


def test_a_process_that_is_gone_is_told_in_a_terminal(tmp_path: Path) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    done = doctor(tmp_path, "--pid", str(ended.pid))
    assert "GC701" in done.stdout and "Traceback" not in done.stderr
    assert done.returncode in (1, 2)


@pytest.mark.parametrize("pid", ["x", "0", "-1", "1.5", "", "٣", "99999999999"])
def test_what_is_no_process_is_refused(tmp_path: Path, pid: str) -> None:
    done = doctor(tmp_path, f"--pid={pid}")
    assert done.returncode == 3 and "--pid" in done.stderr and not done.stdout


def test_measuring_is_not_of_a_process(tmp_path: Path) -> None:
    assert doctor(tmp_path, "--pid", "1", "--performance").returncode == 3
