"""Stamps: by content, never by time."""

from __future__ import annotations

import os
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from setup_host import stamps


def _files(folder: Path) -> list[Path]:
    (folder / "src").mkdir()
    (folder / "src" / "a.ts").write_text("one")
    (folder / "src" / "b.ts").write_text("two")
    return stamps.files_below(folder)


def test_times_and_order_do_not_matter(tmp_path: Path) -> None:
    files = _files(tmp_path)
    before = stamps.digest(tmp_path, files)
    for file in files:
        os.utime(file, (1, 1))
    assert stamps.digest(tmp_path, [*reversed(files), files[0]]) == before


def test_content_name_and_absence_matter(tmp_path: Path) -> None:
    files = _files(tmp_path)
    seen = {stamps.digest(tmp_path, files)}
    files[0].write_text("One")
    seen.add(stamps.digest(tmp_path, files))
    moved = files[0].with_name("c.ts")
    files[0].rename(moved)
    seen.add(stamps.digest(tmp_path, files))
    seen.add(stamps.digest(tmp_path, [moved, files[1]]))
    seen.add(stamps.digest(tmp_path, [moved, files[1]], "python 3.12"))
    assert len(seen) == 5


def test_the_same_files_elsewhere_have_the_same_digest(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    for folder in (one, two):
        folder.mkdir()
    assert stamps.digest(one, _files(one)) == stamps.digest(two, _files(two))


@given(st.lists(st.text(), max_size=4), st.lists(st.text(), max_size=4))
def test_facts_never_run_into_each_other(one: list[str], two: list[str]) -> None:
    same = stamps.digest(Path("/"), [], *one) == stamps.digest(Path("/"), [], *two)
    assert same == (one == two)


def test_what_builds_leave_behind_is_no_input(tmp_path: Path) -> None:
    files = _files(tmp_path)
    for name in ("node_modules/x.js", "__pycache__/y.pyc", "src/z.pyc", "tsconfig.tsbuildinfo"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("made")
    assert stamps.files_below(tmp_path, leave_out=["node_modules"]) == files


def test_a_stamp_is_there_only_after_it_was_written(tmp_path: Path) -> None:
    stamp = tmp_path / "new" / "stamp"
    assert stamps.read(stamp) == ""
    stamps.write(stamp, "abc")
    assert stamps.read(stamp) == "abc"
    assert [path.name for path in stamp.parent.iterdir()] == ["stamp"]
    stamps.forget(stamp)
    stamps.forget(stamp)
    assert stamps.read(stamp) == ""
    stamp.write_bytes(b"\xff\xfe torn")
    assert stamps.read(stamp) == ""
