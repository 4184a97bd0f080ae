"""JSON on disk: whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from server_ext import json_file
from server_ext.doctor import report_store


def test_a_file_is_replaced_and_is_its_owners(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    json_file.write(path, {"n": 1})
    json_file.write(path, {"n": 2, "text": "中文 \udcff"})
    assert json.loads(path.read_text()) == {"n": 2, "text": "中文 \udcff"}
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_what_cannot_be_written_leaves_the_old_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    json_file.write(path, {"n": 1})
    with pytest.raises(TypeError):
        json_file.write(path, {"n": object()})
    assert json.loads(path.read_text()) == {"n": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_a_report_with_a_name_that_is_no_unicode_is_kept(tmp_path: Path) -> None:
    report = {"findings": [], "facts": {"file": "\udce9.py"}}
    assert report_store.save(tmp_path / "new" / "report.json", report) == ""
    assert report_store.load(tmp_path / "new" / "report.json") == report
