"""Removing what was installed: the image's environment takes the place of the user's at once."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from server_ext.errors import Conflict
from server_ext.reset import rename
from server_ext.reset.remove_packages import Remover

pytestmark = pytest.mark.timeout(120)
SITE = Path("lib", "python3.11", "site-packages")


def make(folder: Path) -> Remover:
    """A home with an environment that has two packages, and one of pip --user."""
    template, home = folder / "image" / "environment", folder / "home"
    for prefix in (template, home / ".venv"):
        (prefix / SITE).mkdir(parents=True)
        (prefix / SITE / "base.pth").write_text("/base\n")
        (prefix / "bin").mkdir()
        (prefix / "bin" / "python").symlink_to(sys.executable)
    for package in ("six-1.0", "idna-2.0"):
        (home / ".venv" / SITE / f"{package}.dist-info").mkdir()
    (home / ".local" / SITE / "rich-3.0.dist-info").mkdir(parents=True)
    for kept in (
        ".bashrc",
        ".cache/big",
        "work/mine",
        ".local/share/jupyter/kernels/r/kernel.json",
    ):
        (home / kept).parent.mkdir(parents=True, exist_ok=True)
        (home / kept).write_text(kept)
    return Remover(home, template)


def is_fresh(remover: Remover) -> bool:
    """Raises where the environment is neither the old nor the new one, whole."""
    own = remover.environment
    assert os.readlink(own / "bin" / "python") == sys.executable
    assert (own / SITE / "base.pth").read_text() == "/base\n"
    assert (remover.home / ".bashrc").exists() and (remover.home / "work" / "mine").exists()
    packages = sorted(path.name for path in (own / SITE).glob("*.dist-info"))
    assert packages in ([], ["idna-2.0.dist-info", "six-1.0.dist-info"])
    return not packages


@pytest.fixture
def remover(tmp_path: Path) -> Remover:
    return make(tmp_path)


def test_packages_go_and_all_else_stays(remover: Remover) -> None:
    assert remover.remove() == 3
    assert is_fresh(remover)
    remover.clear()
    assert sorted(path.name for path in remover.home.iterdir()) == [
        ".bashrc",
        ".cache",
        ".gpucamp-removed",
        ".local",
        ".venv",
        "work",
    ]
    assert list((remover.home / ".gpucamp-removed").iterdir()) == []
    assert (remover.home / ".local" / "share" / "jupyter" / "kernels" / "r").exists()
    assert list((remover.home / ".local" / "lib").iterdir()) == []
    assert remover.remove() == 0


@pytest.mark.parametrize("wreck", ["gone", "file", "link", "closed", "loop"])
def test_whatever_is_there_now(remover: Remover, wreck: str) -> None:
    own = remover.environment
    if wreck == "closed":
        (own / "lib").chmod(0o000)
        own.chmod(0o000)
    else:
        shutil.rmtree(own)
    if wreck == "file":
        own.write_text("x")
    if wreck in ("link", "loop"):
        own.symlink_to("/nowhere" if wreck == "link" else ".venv")
    remover.remove()
    assert is_fresh(remover)
    remover.clear()
    assert list((remover.home / ".gpucamp-removed").iterdir()) == []


def test_a_file_system_that_exchanges_nothing(
    remover: Remover, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rename, "exchange", lambda one, other: False)
    assert remover.remove() == 3
    assert is_fresh(remover)


@pytest.mark.parametrize("gathered", [True, False])
def test_a_full_disk_is_emptied_first(
    remover: Remover, monkeypatch: pytest.MonkeyPatch, gathered: bool
) -> None:
    copytree = shutil.copytree

    def full(*arguments: Any, **options: Any) -> None:
        if not remover.environment.exists():
            copytree(*arguments, **options)
            return
        reason = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        raise shutil.Error([("a", "b", str(reason))]) if gathered else reason

    monkeypatch.setattr(shutil, "copytree", full)
    remover.remove()
    assert is_fresh(remover)


def test_an_image_without_one_refuses_and_nothing_happens(remover: Remover) -> None:
    shutil.rmtree(remover.template)
    with pytest.raises(Conflict):
        remover.remove()
    assert not is_fresh(remover)


def test_what_fails_is_told_and_nothing_happens(
    remover: Remover, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(shutil, "copytree", fails)
    with pytest.raises(Conflict, match="Permission denied"):
        remover.remove()
    assert not is_fresh(remover)


KILLED = """
import os, signal, sys
from pathlib import Path
from server_ext.reset import folders, remove_packages, rename

calls, at = 0, int(sys.argv[3])

def counted(function):
    def call(*arguments, **options):
        global calls
        calls += 1
        if calls == at:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **options)
    return call

for name in ("mkdir", "symlink", "unlink", "rmdir", "chmod", "rename", "utime"):
    setattr(os, name, counted(getattr(os, name)))
folders.to_disk = counted(folders.to_disk)
rename._renameat2 = counted(rename._renameat2)
remover = remove_packages.Remover(Path(sys.argv[1]), Path(sys.argv[2]))
remover.remove()
remover.clear()
"""


def test_killed_at_any_step_the_environment_is_whole(tmp_path: Path) -> None:
    fresh = False
    at = 0
    while True:
        at += 1
        remover = make(tmp_path / f"{at}")
        done = subprocess.run(
            [sys.executable, "-c", KILLED, str(remover.home), str(remover.template), str(at)],
            capture_output=True,
        )
        before, fresh = fresh, is_fresh(remover)
        assert fresh or not before
        remover.clear()
        remover.remove()
        assert is_fresh(remover)
        remover.clear()
        assert list((remover.home / ".gpucamp-removed").iterdir()) == []
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    assert at > 10
