"""What is only tried leaves no temporary files."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest

from server_ext.doctor.apart import temporary_files_apart


def test_what_is_left_goes(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with temporary_files_apart({"A": "1"}) as env:
        folder = Path(env["TMPDIR"])
        assert env["A"] == "1" and folder.parent == tmp_path
        (folder / "left").mkdir()
    assert list(tmp_path.iterdir()) == []


def test_also_when_it_is_cancelled(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(KeyboardInterrupt), temporary_files_apart({}):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("env", [{"TMPDIR": "/gone"}, {"TMPDIR": ""}])
def test_what_the_user_set_stays(env: dict[str, str]) -> None:
    with temporary_files_apart(env) as found:
        assert found == env


def test_where_nothing_can_be_written_nothing_changes(monkeypatch: Any) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/gone")
    with temporary_files_apart({"A": "1"}) as env:
        assert env == {"A": "1"}
