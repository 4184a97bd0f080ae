"""gpucamp-env with the real pip, in a virtual environment; wheels of a folder, no index."""

from __future__ import annotations

import subprocess
import sys
import venv
from collections.abc import Callable
from pathlib import Path

import pytest
from wheels import wheel

from server_ext.reset import env_command
from server_ext.reset.packages import environment_folders

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """make("one"): a new, empty environment that is taken for the kernel's; its Python."""
    index, work, base = (tmp_path / name for name in ("index", "work", "base"))
    for folder in (index, work, base):
        folder.mkdir()
    wheel(index, "alpha", "1.0")
    wheel(index, "beta", "2.0")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))
    monkeypatch.setenv("GPUCAMP_WORK", str(work))
    monkeypatch.setenv("GPUCAMP_IMAGE", "sha256:1")
    monkeypatch.setattr(env_command, "base_folder", lambda: str(base))

    def made(name: str) -> Path:
        folder = tmp_path / name
        venv.create(folder, symlinks=True, with_pip=False)
        python = folder / "bin" / "python"
        monkeypatch.setattr(env_command, "kernel_python", lambda: str(python))
        return python

    return made


def install(python: Path, *words: str) -> None:
    subprocess.run(
        [sys.executable, "-m", "pip", "--python", str(python), "install", "-q", *words], check=True
    )


def names(python: Path) -> set[str]:
    return {
        path.name.rpartition(".")[0]
        for folder in environment_folders(str(python))
        for path in Path(folder).glob("*.dist-info")
    }


def test_a_lock_brings_packages_and_a_folder_of_ones_own_into_a_new_environment(
    make: Callable[[str], Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    install(make("old"), "alpha", str(wheel(tmp_path / "work", "gamma", "3.0")))
    assert env_command.main(["freeze"]) == 0
    lock = (tmp_path / "work" / "environment.lock").read_text()
    assert "alpha==1.0\n" in lock and "# base: sha256:1\n" in lock
    assert f"gamma @ file://{tmp_path}/work/gamma-3.0-py3-none-any.whl\n" in lock
    python = make("new")
    assert env_command.main(["restore"]) == 0
    assert names(python) == {"alpha-1.0", "gamma-3.0"}
    assert "✓ alpha==1.0: installed" in capfd.readouterr().out
    assert env_command.main(["restore"]) == 0
    assert "Everything in the lock is there already." in capfd.readouterr().out
    assert env_command.main(["diff"]) == 0
    assert "alpha 1.0 (not in the base)" in capfd.readouterr().out


def test_a_package_that_cannot_be_installed_keeps_none_of_the_others_away(
    make: Callable[[str], Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    python = make("new")
    lock = tmp_path / "team.lock"
    lock.write_text("# base: sha256:2\nalpha==1.0\nnowhere==9.9\nbeta==2.0\n")
    assert env_command.main(["restore", str(lock)]) == 1
    assert names(python) == {"alpha-1.0", "beta-2.0"}
    said = capfd.readouterr()
    assert "✗ nowhere==9.9: failed" in said.out and "✓ beta==2.0: installed" in said.out
    assert "another image" in said.err


def test_what_nothing_brings_back_is_said_and_no_password_is_written(
    make: Callable[[str], Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    python = make("old")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    install(python, "beta", str(wheel(elsewhere, "delta", "1.0")))
    (info,) = [
        path
        for folder in environment_folders(str(python))
        for path in Path(folder).glob("beta-*.dist-info")
    ]
    (info / "direct_url.json").write_text('{"url": "https://me:s3cret@git.example/b.whl"}')
    assert env_command.main(["freeze", str(tmp_path / "lock")]) == 1
    lock = (tmp_path / "lock").read_text()
    assert "s3cret" not in lock and "# left out: delta: it was installed from outside" in lock
    assert "its address has a password" in capfd.readouterr().err
    mine = wheel(tmp_path / "work", "gamma", "3.0")
    install(python, str(mine))
    mine.unlink()
    assert env_command.main(["freeze", str(tmp_path / "lock")]) == 1
    assert "gamma: what it was installed from is gone" in capfd.readouterr().err


def test_what_the_environment_lost_of_the_base_is_said(
    make: Callable[[str], Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    python = make("one")
    (tmp_path / "base" / "torch-2.9.1.dist-info").mkdir()
    assert env_command.main(["diff"]) == 0
    assert capfd.readouterr().out == "torch removed (2.9.1)\n"
    (folder,) = environment_folders(str(python))
    Path(folder, "base.pth").write_text(f"{tmp_path / 'base'}\n")
    assert env_command.main(["diff"]) == 0
    assert "with nothing on top" in capfd.readouterr().out


@pytest.mark.parametrize("text", ["--index-url http://x\n", "alpha==1\nalpha==2\n", "\xff" * 9])
def test_a_lock_that_is_none_changes_nothing(
    make: Callable[[str], Path], tmp_path: Path, text: str, capfd: pytest.CaptureFixture[str]
) -> None:
    python = make("new")
    (tmp_path / "bad.lock").write_text(text, encoding="latin-1")
    assert env_command.main(["restore", str(tmp_path / "bad.lock")]) == 2
    assert names(python) == set() and "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize("words", [["restore", "/nowhere/lock"], ["freeze", "/nowhere/lock"]])
def test_a_file_that_is_not_there_is_refused(
    make: Callable[[str], Path], words: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    make("new")
    assert env_command.main(words) == 2
    assert "/nowhere/lock" in capfd.readouterr().err
