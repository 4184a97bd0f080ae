"""The script beside a notebook: written once, and never over what a person wrote."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from server_ext.ddp import beside, export
from server_ext.ddp.export import accept, export_notebook, propose_for
from server_ext.errors import BadRequest, Conflict


def book(*sources: str) -> str:
    return json.dumps({"cells": [{"cell_type": "code", "source": text} for text in sources]})


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "work" / "träin").mkdir(parents=True)
    (tmp_path / "work" / "träin" / "a.ipynb").write_text(book("x = 1"))
    return tmp_path / "work"


def test_it_is_beside_the_notebook_and_follows_it(root: Path) -> None:
    name = "träin/a.ipynb"
    first = export_notebook(str(root), name)
    assert (first.script, first.written) == ("träin/a.py", True)
    script = root / first.script
    assert "x = 1" in script.read_text() and script.stat().st_mode & 0o777 == 0o644
    assert export_notebook(str(root), name).written is False
    (root / name).write_text(book("x = 2"))
    again = export_notebook(str(root), name)
    assert (again.script, again.written) == ("träin/a.py", True)
    assert "x = 2" in script.read_text()
    assert sorted(os.listdir(root / "träin")) == ["a.ipynb", "a.py"]


@pytest.mark.parametrize("how", ["changed", "foreign", "empty", "folder", "link", "binary"])
def test_nothing_of_a_persons_is_written_over(root: Path, how: str) -> None:
    target = root / "träin" / "a.py"
    if how == "changed":
        export_notebook(str(root), "träin/a.ipynb")
        target.write_text(target.read_text() + "mine = 1\n")
    elif how == "folder":
        target.mkdir()
    elif how == "link":
        target.symlink_to(root / "nowhere")
    else:
        target.write_bytes({"foreign": b"# mine\n", "empty": b"", "binary": b"\xff\n\xff"}[how])
    kept = target.read_bytes() if target.is_file() else None
    made = export_notebook(str(root), "träin/a.ipynb")
    assert (made.script, made.written) == ("träin/a_2.py", True)
    assert (target.read_bytes() if target.is_file() else None) == kept
    assert export_notebook(str(root), "träin/a.ipynb").script == "träin/a_2.py"


def test_an_obstacle_writes_nothing(root: Path) -> None:
    (root / "a.ipynb").write_text(book("!make data"))
    made = export_notebook(str(root), "a.ipynb")
    assert (made.script, made.written, len(made.converted.obstacles)) == ("", False, 1)
    assert not (root / "a.py").exists()


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("missing.ipynb", "does not exist"),
        ("../a.ipynb", "without '..'"),
        ("a.txt", "choose an .ipynb"),
        ("folder.ipynb", "not a file"),
        ("bad.ipynb", "no JSON"),
        ("deep.ipynb", "no JSON"),
        ("empty.ipynb", "no code"),
        ("large.ipynb", "larger than 1 MB"),
        ("link.ipynb", "leads out"),
    ],
)
def test_refused(root: Path, name: str, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "READ_AT_MOST", 2**20)
    (root / "a.txt").write_text("")
    (root / "folder.ipynb").mkdir()
    (root / "bad.ipynb").write_bytes(b"\xff\xfe{")
    (root / "deep.ipynb").write_text("[" * 100_000)
    (root / "empty.ipynb").write_text(book())
    (root / "large.ipynb").write_text(" " * (2**20 + 1))
    (root / "link.ipynb").symlink_to("/etc/passwd")
    with pytest.raises(BadRequest, match=says):
        export_notebook(str(root), name)


def test_a_disk_that_is_full_leaves_nothing(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(beside.os, "replace", full)
    with pytest.raises(Conflict, match="No space left"):
        export_notebook(str(root), "träin/a.ipynb")
    assert os.listdir(root / "träin") == ["a.ipynb"]


def test_a_hundred_names_that_are_taken(root: Path) -> None:
    for number in range(1, 100):
        (root / "träin" / ("a.py" if number == 1 else f"a_{number}.py")).write_text("mine")
    with pytest.raises(Conflict, match="99 scripts"):
        export_notebook(str(root), "träin/a.ipynb")


PLAIN = Path(__file__).parent / "plain" / "functions.py"


def test_a_proposal_is_written_when_it_is_the_one_that_was_shown(root: Path) -> None:
    (root / "träin" / "t.py").write_text(PLAIN.read_text())
    made = propose_for(str(root), "träin/t.py")
    assert made.diff.startswith("--- t.py\n+++ t_ddp.py\n") and made.proposal.text
    with pytest.raises(Conflict, match="changed meanwhile"):
        accept(str(root), "träin/t.py", "0" * 64)
    assert accept(str(root), "träin/t.py", made.digest) == "träin/t_ddp.py"
    assert (root / "träin" / "t_ddp.py").read_text().startswith(made.proposal.text)
    assert (root / "träin" / "t.py").read_text() == PLAIN.read_text()
    (root / "träin" / "t.py").write_text("x = 1\n")
    with pytest.raises(Conflict, match="changed meanwhile"):
        accept(str(root), "träin/t.py", made.digest)


@pytest.mark.parametrize("name", ["a.ipynb", "../x.py", "missing.py", "folder.py", "latin.py"])
def test_proposals_refused(root: Path, name: str) -> None:
    (root / "folder.py").mkdir()
    (root / "latin.py").write_bytes(b"# \xe9\n")
    (root / "a.ipynb").touch()
    with pytest.raises(BadRequest):
        propose_for(str(root), name)
