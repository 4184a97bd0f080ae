"""What people may put where a file is expected: it is not read, and nobody waits for it."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from server_ext import regular_file
from server_ext.ddp import logs, sampler
from server_ext.ddp.runs import RunStore
from server_ext.ddp.trackers import forwarder
from server_ext.doctor import report_store

pytestmark = pytest.mark.timeout(30)


def a_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(os.path.relpath(path))


IN_THE_WAY: dict[str, Callable[[Path], object]] = {
    "fifo": os.mkfifo,
    "folder": Path.mkdir,
    "dead link": lambda path: path.symlink_to("/nowhere"),
    "link to itself": lambda path: path.symlink_to(path),
    "file without end": lambda path: path.symlink_to("/dev/zero"),
    "socket": a_socket,
    "no permission": lambda path: (path.write_text("{}"), path.chmod(0)),
    "garbage": lambda path: path.write_bytes(os.urandom(999)),
    "deep": lambda path: path.write_text("[" * 100_000),
    "number": lambda path: path.write_text("7"),
    "null byte": lambda path: None,
}


@pytest.mark.parametrize("what", IN_THE_WAY)
def test_whatever_is_in_the_way_reads_as_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.chdir(tmp_path)
    name = "no\0path" if what == "null byte" else "it"
    path = tmp_path / name
    IN_THE_WAY[what](path)
    if what not in ("garbage", "deep", "number", "no permission"):
        assert regular_file.read(path, 1000) is None
        with pytest.raises(OSError):
            regular_file.opened(path)
        assert logs.read(str(path), 0, 100) == b""
    assert report_store.load(path) is None
    assert sampler.load(path) is None


@pytest.mark.parametrize("what", sorted(set(IN_THE_WAY) - {"null byte"}))
def test_a_run_whose_files_are_something_else_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    store = RunStore(str(tmp_path))
    folder = tmp_path / store.new_id()
    folder.mkdir()
    monkeypatch.chdir(folder)
    for name in ("run.json", forwarder.RECORD):
        IN_THE_WAY[what](folder / name)
    assert store.all() == []
    assert forwarder.load(folder) is None


def test_a_file_is_read_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text(json.dumps({"a": 1}))
    link = tmp_path / "link"
    link.symlink_to(path)
    assert regular_file.read(link, 8) == b'{"a": 1}'
    assert regular_file.read(link, 7) is None
    with regular_file.opened(path) as file:
        file.seek(2)
        assert file.read(1) == b"a"
