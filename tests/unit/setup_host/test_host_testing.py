"""Where `make test-fast` keeps the tests' files."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from setup_host.testing import _in_memory

GIB = 1024**3


@pytest.mark.parametrize(
    ("free", "flags", "used"), [(4 * GIB, 0, True), (GIB, 0, False), (4 * GIB, os.ST_NOEXEC, False)]
)
def test_files_are_in_memory_where_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, flags: int, used: bool
) -> None:
    facts = SimpleNamespace(f_bavail=free // 4096, f_frsize=4096, f_flag=flags)
    monkeypatch.setattr(os, "statvfs", lambda _folder: facts)
    assert _in_memory(tmp_path) == ({"TMPDIR": str(tmp_path)} if used else {})


def test_a_host_without_such_a_folder_uses_its_disk(tmp_path: Path) -> None:
    assert _in_memory(tmp_path / "none") == {}
