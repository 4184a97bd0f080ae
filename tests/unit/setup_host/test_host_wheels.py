"""Wheels for tests: what cannot be fetched ends the set-up, unless pip's index simply has none."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from setup_host import test_wheels
from setup_host.errors import SetupError
from setup_host.progress import Progress

VARIABLES = {wheels.variable for wheels in test_wheels.WHEELS}


class Pip(Progress):
    """Says what is told of a lock, else leaves one wheel."""

    def __init__(self, **failures: str) -> None:
        self.said = io.StringIO()
        super().__init__(self.said)
        self.failures = failures
        self.fetched: list[str] = []

    def run(self, argv: Any, **_: Any) -> None:
        lock, folder = Path(argv[-1]).stem, Path(argv[-3])
        self.fetched.append(lock)
        if lock in self.failures:
            raise SetupError("pip failed", "see the log.", self.failures[lock])
        folder.mkdir(parents=True)
        (folder / f"{lock}.whl").touch()


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(test_wheels, "tool_environ", lambda *_: {})
    monkeypatch.setattr(
        test_wheels.python_env, "lock_file", lambda _, name: tmp_path / f"{name}.txt"
    )
    for wheels in test_wheels.WHEELS:
        (tmp_path / f"{wheels.lock}.txt").write_text(wheels.lock)
    return SimpleNamespace(state=tmp_path / "state", logs=tmp_path, python="python3")


def test_each_is_fetched_once_and_anew_after_its_lock_has_changed(
    settings: Any, tmp_path: Path
) -> None:
    pip = Pip()
    assert set(test_wheels.ensure(settings, pip)) == VARIABLES
    test_wheels.ensure(settings, pip)
    (tmp_path / "breaking.txt").write_text("another")
    test_wheels.ensure(settings, pip)
    assert pip.fetched == [*(wheels.lock for wheels in test_wheels.WHEELS), "breaking"]


def test_what_no_index_has_is_no_failure_where_it_is_optional(settings: Any) -> None:
    none = "ERROR: No matching distribution found for torch==2.13.0+cpu"
    with pytest.raises(SetupError):
        test_wheels.ensure(settings, Pip(frameworks=none))
    pip = Pip(**{"cpu-torch": none})
    folders = test_wheels.ensure(settings, pip)
    assert not Path(folders["GPUCAMP_CPU_TORCH_WHEELS"]).exists()
    assert "NOT RUN" in pip.said.getvalue()


def test_anything_else_ends_the_set_up(settings: Any) -> None:
    wrong = "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE."
    with pytest.raises(SetupError):
        test_wheels.ensure(settings, Pip(**{"cpu-torch": wrong}))
