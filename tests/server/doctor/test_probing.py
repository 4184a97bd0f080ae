"""Probe processes: limits, partial answers, noise, children that stay; and the probes' facts."""

from __future__ import annotations

import asyncio
import os
import stat
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from server_ext.doctor.facts import ProbeResult
from server_ext.doctor.probing import PROBES_DIR, Probe, run_probe

PARTIAL = r"""printf '\036gpucamp-probe+ {"a": 1}\n'; """
ANSWER = r"""printf '\036gpucamp-probe {"a": 2}\n'; """


async def run(
    tmp_path: Path, text: str, *, limit: float = 1.0, rest: float = 0.0
) -> tuple[ProbeResult, float]:
    """The result of a probe whose Python is this shell script, and how long it took."""
    script = tmp_path / "python"
    script.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/pid\n{text}\n")
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    started = time.monotonic()
    probe = Probe("p", "system", limit, rest=rest)
    result = await run_probe(probe, [str(script)], dict(os.environ), "/")
    return result, time.monotonic() - started


async def real(script: str, *arguments: str, **env: str) -> dict[str, Any]:
    """The facts of a real probe, run by this Python."""
    probe = Probe(script, script, 30, arguments)
    result = await run_probe(probe, [sys.executable], {**os.environ, **env}, "/")
    assert result.failure is None, result.failure
    return dict(result.value)


async def group_is_gone(tmp_path: Path) -> bool:
    """Whether no process of the probe's group is left; init may need a moment to reap them."""
    group = int((tmp_path / "pid").read_text())
    for _ in range(250):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        await asyncio.sleep(0.02)
    return False


async def test_noise_around_the_answer_is_dropped(tmp_path: Path) -> None:
    result, _ = await run(tmp_path, f"echo noise; echo more >&2; {ANSWER}")
    assert result.failure is None and result.value == {"a": 2}


async def test_an_answer_counts_though_a_child_keeps_the_pipe(tmp_path: Path) -> None:
    result, seconds = await run(tmp_path, f"sleep 600 & {ANSWER} wait", limit=20)
    assert result.value == {"a": 2} and seconds < 5
    assert await group_is_gone(tmp_path)


async def test_a_child_that_left_the_group_does_not_keep_us(tmp_path: Path) -> None:
    text = f"setsid sh -c 'echo $$ > {tmp_path}/escaped; exec sleep 600' & sleep 0.2; exit 3"
    result, seconds = await run(tmp_path, text, limit=1)
    os.kill(int((tmp_path / "escaped").read_text()), 9)
    assert result.failure is not None and seconds < 6


async def test_what_was_known_before_a_hang_is_kept(tmp_path: Path) -> None:
    result, seconds = await run(tmp_path, f"{PARTIAL} sleep 600", limit=20, rest=0.5)
    assert result.value == {"a": 1, "cut_short": {"kind": "timeout", "detail": "no answer in time"}}
    assert seconds < 5 and await group_is_gone(tmp_path)


async def test_what_was_known_before_a_crash_is_kept(tmp_path: Path) -> None:
    result, _ = await run(tmp_path, f"{PARTIAL} kill -SEGV $$", rest=5)
    assert result.value["a"] == 1
    assert result.value["cut_short"] == {"kind": "crashed", "detail": "ended by SIGSEGV"}


async def test_a_whole_answer_after_a_partial_one(tmp_path: Path) -> None:
    result, _ = await run(tmp_path, f"{PARTIAL} sleep 0.1; {ANSWER}", rest=5)
    assert result.value == {"a": 2}


async def test_half_an_answer_is_none(tmp_path: Path) -> None:
    result, _ = await run(tmp_path, r"""printf '\036gpucamp-probe {"a"' """)
    assert result.failure is not None and result.failure.kind == "garbage"


async def test_a_crash_tells_its_last_words(tmp_path: Path) -> None:
    result, _ = await run(tmp_path, "yes line | head -n 9999 >&2; echo last words >&2; exit 7")
    assert result.failure is not None
    assert (result.failure.kind, result.failure.exit_code) == ("crashed", 7)
    assert result.failure.stderr.endswith("last words\n")
    assert len(result.failure.stderr) <= 4000


@pytest.mark.parametrize("python", ["/no/such/python", "/etc/passwd", "/", "a\0b"])
async def test_what_cannot_be_started_is_a_failure(python: str) -> None:
    result = await run_probe(Probe("p", "system", 5), [python], dict(os.environ), "/")
    assert result.failure is not None and result.failure.kind == "not-started"


@pytest.mark.parametrize("delay", [0.0, 0.01, 0.05, 0.2])
async def test_cancelled_at_any_moment_it_leaves_no_process(tmp_path: Path, delay: float) -> None:
    task = asyncio.create_task(run(tmp_path, "sleep 600 & sleep 600", limit=60))
    await asyncio.sleep(delay)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    # cancelled early, it has no file yet, or one that it did not come to write
    if (tmp_path / "pid").exists() and (tmp_path / "pid").read_text():
        assert await group_is_gone(tmp_path)


# -- the probes


async def test_imports_name_what_is_wrong_and_hiding_it_helps(tmp_path: Path) -> None:
    (tmp_path / "json5.py").write_text("raise ValueError('mine')")
    (tmp_path / "user_of_it.py").write_text("import json5")
    facts = await real("imports", "user_of_it", PYTHONPATH=str(tmp_path))
    assert facts["ok"] is False
    assert facts["error"]["type"] == "ValueError"
    assert facts["error"]["frames"][-1] == str(tmp_path / "json5.py")
    hidden = ("user_of_it", "--only", "--without", "json5", "--over", str(tmp_path))
    facts = await real("imports", *hidden, PYTHONPATH=str(tmp_path))
    # past the file in front there is either the real one or none; the file itself is not met
    assert facts["ok"] is True or facts["error"]["type"] == "ModuleNotFoundError"


async def test_what_only_has_torchs_name_is_not_torch(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("__version__ = '2.9.1'")
    for options in ((), ("--only",)):
        facts = await real("imports", "torch", *options, PYTHONPATH=str(tmp_path))
        assert facts["ok"] is False and "torch" not in facts
        assert "has no version, zeros" in facts["error"]["message"]
        assert facts["error"]["path"] == str(tmp_path / "torch.py")


async def test_what_starts_kernels_is_ipykernels_own(tmp_path: Path) -> None:
    assert (await real("imports", "ipykernel.kernelapp"))["ok"] is True
    (tmp_path / "ipykernel_launcher.py").write_text("")
    facts = await real("imports", "ipykernel.kernelapp", PYTHONPATH=str(tmp_path))
    assert facts["ok"] is False
    assert facts["error"]["path"] == str(tmp_path / "ipykernel_launcher.py")


async def test_an_import_that_exits_is_an_error_like_any_other(tmp_path: Path) -> None:
    (tmp_path / "leaves.py").write_text("import sys; print('bye'); sys.exit(5)")
    facts = await real("imports", "leaves", PYTHONPATH=str(tmp_path))
    assert facts["error"]["type"] == "SystemExit"


@pytest.mark.parametrize("end", ["", "raise ValueError", "raise SystemExit"])
async def test_garbage_is_left_alone_during_an_import_only(tmp_path: Path, end: str) -> None:
    """What is imported finds the collector off, and it is on again for what torch is asked then."""
    (tmp_path / "looks.py").write_text(f"import gc; print('during', gc.isenabled())\n{end}\n")
    collect = (
        "import gc, importlib.util, sys\n"
        "spec = importlib.util.spec_from_file_location('probe', sys.argv[1])\n"
        "probe = importlib.util.module_from_spec(spec); spec.loader.exec_module(probe)\n"
        "(facts,) = probe.collect(['looks'])\n"
        "print('after', gc.isenabled(), facts['ok'])\n"
    )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", collect, str(PROBES_DIR / "imports.py")),
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()
    assert out.decode().splitlines() == ["during False", f"after True {not end}"]


async def test_packages_are_told_by_folder_with_their_modules(tmp_path: Path) -> None:
    base, front = tmp_path / "base" / "site-packages", tmp_path / "front"
    for folder, name, record in (
        (base, "torch-2.9.1.dist-info", ""),
        (front, "typing_extensions-4.0.0.dist-info", "typing_extensions.py,sha256=x,1\n"),
        (front, "old_one-1.0-py3.11.egg-info", ""),
    ):
        (folder / name).mkdir(parents=True)
        if record:
            (folder / name / "RECORD").write_text(record)
    (front / "old_one-1.0-py3.11.egg-info" / "top_level.txt").write_text("old_one\n")
    for name in ("typing_extensions.py", "stray.py", "old_one.cpython-311-x86_64-linux-gnu.so"):
        (front / name).write_text("")
    (front / "x.pth").write_text("")
    facts = await real("packages", str(tmp_path / "base"), PYTHONPATH=f"{front}{os.pathsep}{base}")
    by_folder = {entry["directory"]: entry for entry in facts["directories"]}
    plain = {"compiled": False, "needs": []}
    assert by_folder[str(base)]["base"] is True
    assert by_folder[str(base)]["distributions"] == [{"name": "torch", "version": "2.9.1"}]
    assert by_folder[str(front)]["base"] is False
    assert by_folder[str(front)]["strays"] == ["stray"]
    assert by_folder[str(front)]["distributions"] == [
        {"name": "old_one", "version": "1.0", "modules": ["old_one"]} | plain,
        {"name": "typing_extensions", "version": "4.0.0", "modules": ["typing_extensions"]} | plain,
    ]


async def test_library_path_tells_cuda_libraries_only(tmp_path: Path) -> None:
    for name in ("libcudart.so.12", "libcudnn_ops.so.9", "libfoo.so", "libcuda_stub.txt"):
        (tmp_path / name).write_text("")
    facts = await real("system", LD_LIBRARY_PATH=f"{tmp_path}:/no/such:")
    assert facts["library_path"] == [
        {"directory": str(tmp_path), "libraries": ["libcudart.so.12", "libcudnn_ops.so.9"]}
    ]


async def test_shadows_in_the_work_folder(tmp_path: Path) -> None:
    for name in ("torch.py", "train.py", "random.py", "numpy.txt"):
        (tmp_path / name).write_text("")
    (tmp_path / "numpy").mkdir()  # a folder of data is no module
    (tmp_path / "triton").mkdir()
    (tmp_path / "triton" / "__init__.py").write_text("")
    facts = await real("python", str(tmp_path))
    assert facts["shadows"] == ["random.py", "torch.py", "triton"]
    assert facts["prefix"] == sys.prefix


async def test_resources_of_a_folder_that_is_gone(tmp_path: Path) -> None:
    facts = await real("resources", str(tmp_path / "gone"), str(tmp_path))
    assert "error" in facts["filesystems"]["work"]
    assert facts["filesystems"]["home"]["free_bytes"] > 0
    assert facts["limits"]["nofile"] > 0 and facts["cpu"]["usable"] >= 1
