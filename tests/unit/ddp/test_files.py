"""Which scripts may be run, and where the machine's facts come from."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from server_ext.ddp.files import find_module, find_script
from server_ext.ddp.machine import cpu_quota, read_machine
from server_ext.errors import BadRequest

GOOD = "import torch.distributed as dist\ndist.init_process_group()\ndist.destroy_process_group()\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A work folder with a bit of everything in it, and secrets beside it."""
    work = tmp_path / "work"
    (work / "project one").mkdir(parents=True)
    (work / "project one" / "träin ✓.py").write_text(GOOD)
    (work / "train.py").write_text(GOOD)
    (work / "notebook.ipynb").write_text("{}")
    (work / "folder.py").mkdir()
    (work / "binary.py").write_bytes(b"\x7fELF\0\0")
    (work / "broken.py").write_text("print(")
    (work / "latin.py").write_bytes(b"x = 'caf\xe9'\n")
    (work / "notes.txt").write_text("x")
    (tmp_path / "work-of-someone-else").mkdir()
    (tmp_path / "work-of-someone-else" / "train.py").write_text(GOOD)
    (tmp_path / "outside.py").write_text(GOOD)
    (work / "link.py").symlink_to(tmp_path / "outside.py")
    (work / "inner-link.py").symlink_to("train.py")
    (work / "linked-folder").symlink_to(tmp_path / "work-of-someone-else")
    (work / "loop.py").symlink_to("loop.py")
    os.mkfifo(work / "pipe.py")
    (work / "pack" / "inner").mkdir(parents=True)
    (work / "pack" / "__init__.py").write_text("")
    (work / "pack" / "train.py").write_text(GOOD)
    (work / "pack" / "inner" / "__main__.py").write_text("print(")
    return work


def test_found(root: Path) -> None:
    script = find_script(str(root), "project one/träin ✓.py")
    assert script.path == str(root / "project one" / "träin ✓.py")
    assert script.working_directory == str(root / "project one")
    assert script.advice == ()
    assert find_script(str(root), "train.py", "project one").working_directory == str(
        root / "project one"
    )
    assert find_script(str(root), "train.py", "").working_directory == str(root)
    assert find_script(str(root), "./inner-link.py").path == str(root / "train.py")


def test_the_root_itself_may_be_a_link(root: Path) -> None:
    link = root.parent / "home"
    link.symlink_to(root)
    assert find_script(str(link), "train.py").path == str(root / "train.py")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("missing.py", "does not exist"),
        ("", "script is missing"),
        ("notebook.ipynb", "notebook"),
        ("notes.txt", "choose a .py file"),
        ("folder.py", "not a file"),
        ("pipe.py", "not a file"),
        ("binary.py", "not text"),
        ("loop.py", "cannot be opened"),
        ("../outside.py", "without '..'"),
        ("project one/../../outside.py", "without '..'"),
        ("/etc/passwd", "below your work folder"),
        ("link.py", "leads out"),
        ("linked-folder/train.py", "leads out"),
        ("train.py/x.py", "cannot be opened"),
        ("x" * 300 + ".py", "cannot be opened"),
    ],
)
def test_refused(root: Path, name: str, says: str) -> None:
    with pytest.raises(BadRequest, match=says):
        find_script(str(root), name)


def test_a_module_is_found_as_python_finds_it(root: Path) -> None:
    module = find_module(str(root), "pack.train")
    assert (module.path, module.is_module, module.advice) == ("pack.train", True, ())
    assert module.working_directory == str(root)
    inner = find_module(str(root), "inner", "pack")
    assert inner.working_directory == str(root / "pack")
    assert [one.code for one in inner.advice] == ["syntax-error"]
    installed = find_module(str(root), "trl.scripts.sft")
    assert [one.code for one in installed.advice] == ["installed-module"]


@pytest.mark.parametrize(
    ("module", "folder", "says"),
    [
        ("pack", None, "without __main__.py"),
        ("link", None, "leads out"),
        ("linked-folder.train", None, "leads out"),
        ("binary", None, "not text"),
        ("folder", None, "not a file"),
        ("pack.train", "..", r"without '\.\.'"),
        ("pack.train", "missing", "does not exist"),
        ("pack.train", "train.py", "not a folder"),
        ("train", "linked-folder", "leads out"),
    ],
)
def test_modules_refused(root: Path, module: str, folder: str | None, says: str) -> None:
    with pytest.raises(BadRequest, match=says):
        find_module(str(root), module, folder)


@pytest.mark.parametrize("folder", ["..", "/tmp", "linked-folder", "train.py", "missing"])
def test_working_directories_refused(root: Path, folder: str) -> None:
    with pytest.raises(BadRequest):
        find_script(str(root), "train.py", folder)


def test_a_script_that_python_cannot_read_is_advice_not_a_refusal(root: Path) -> None:
    assert [one.code for one in find_script(str(root), "broken.py").advice] == ["syntax-error"]
    assert [one.code for one in find_script(str(root), "latin.py").advice] == ["syntax-error"]


@pytest.mark.parametrize(
    ("limit", "files", "cores"),
    [
        ("1", {}, 1),
        ("0.5", {}, 1),
        ("nan", {}, None),
        ("-3", {}, None),
        ("many", {}, None),
        ("", {"cpu.max": "100000 100000"}, 1),
        ("", {"cpu.max": "max 100000"}, None),
        ("", {"cpu/cpu.cfs_quota_us": "150000", "cpu/cpu.cfs_period_us": "100000"}, 1),
        ("", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None),
        ("", {"cpu.max": "nonsense"}, None),
    ],
)
def test_the_cpu_quota(
    tmp_path: Path, limit: str, files: dict[str, str], cores: int | None
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    everything = len(os.sched_getaffinity(0))
    environ = {"GPUCAMP_CPU_LIMIT": limit} if limit else {}
    assert cpu_quota(environ, str(tmp_path)) == (cores or everything)


def test_torchrun_is_named_only_where_a_terminal_would_run_the_kernels(tmp_path: Path) -> None:
    ours, other = tmp_path / "ours", tmp_path / "other"
    for folder in (ours, other):
        folder.mkdir()
        (folder / "torchrun").write_text("#!/bin/sh\n")
        (folder / "torchrun").chmod(0o755)
    python = str(ours / "python")
    facts = read_machine({"PATH": f"{ours}:{other}"}, str(tmp_path / "runs"), python)
    assert facts.launcher == ("torchrun",)
    assert facts.disk_free_bytes is not None and facts.disk_free_bytes > 0
    facts = read_machine({"PATH": f"{other}:{ours}"}, str(tmp_path / "runs"), python)
    assert facts.launcher == (python, "-m", "torch.distributed.run")
    facts = read_machine(
        {"GPUCAMP_DEVICES": "GPU-a,GPU-b", "GPUCAMP_SIMULATED": "1"}, "/nowhere", sys.executable
    )
    assert (facts.devices, facts.real_devices, facts.backend) == (("GPU-a", "GPU-b"), 0, "gloo")
