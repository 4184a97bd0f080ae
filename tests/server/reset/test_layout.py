"""JupyterLab's workspaces go with a reset that was asked for in it, once, and with no other."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from scripted_service import ScriptedService
from tornado.httputil import HTTPServerRequest

from server_ext.reset import layout

pytestmark = pytest.mark.timeout(60)
DEFAULT = "default-37a8.jupyterlab-workspace"
ACCEPTED = {"operation": {"id": 7}, "progress_url": "/services/gpucamp/operations/7"}


class Server:
    """One start of a server: its environment's workspaces, and the work folder of all."""

    def __init__(self, root: Path, generation: int, name: str = "") -> None:
        self.folder = root / f"environment-{generation}"
        self.folder.mkdir(exist_ok=True)
        self.state = root / "work" / ".gpucamp"
        self.environ = {
            layout.FOLDER_VARIABLE: str(self.folder),
            layout.GENERATION_VARIABLE: str(generation),
            layout.SERVER_VARIABLE: name,
        }

    def has(self, **files: str) -> None:
        for name, text in files.items():
            (self.folder / f"{name}.jupyterlab-workspace").write_text(text)

    def carry(self) -> None:
        layout.carry(self.state, self.environ)

    def start(self) -> dict[str, str]:
        """Take up what there is; the workspaces that JupyterLab then finds."""
        layout.take_up(self.state, self.environ)
        return {path.stem: path.read_text() for path in self.folder.iterdir()}

    @property
    def kept(self) -> Path:
        return layout.path_in(self.state, self.environ[layout.SERVER_VARIABLE])


@pytest.fixture
def old(tmp_path: Path) -> Server:
    server = Server(tmp_path, 1)
    server.has(default='{"a": 1}', other="{}")
    return server


def test_the_next_start_in_another_environment_has_them_and_only_that_one(
    tmp_path: Path, old: Server
) -> None:
    (old.folder / "notes.txt").write_text("not a workspace")
    old.carry()
    new = Server(tmp_path, 2)
    new.has(default="{}")  # of an environment that an undo brings back
    assert new.start() == {"default": '{"a": 1}', "other": "{}"}
    assert not new.kept.exists()
    assert Server(tmp_path, 3).start() == {}


def test_a_reset_from_outside_gets_nothing_after_a_start_without_one(
    tmp_path: Path, old: Server
) -> None:
    """The service refused and the answer was lost; the server was started again as it was."""
    old.carry()
    old.has(default='{"later": 1}')
    assert old.start()["default"] == '{"later": 1}'
    assert Server(tmp_path, 2).start() == {}


def test_one_that_is_being_written_is_carried_whole_or_not_at_all(
    tmp_path: Path, old: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = ['{"a": ', '{"a": 2', '{"a": 2}']
    old.has(default="", broken='{"a": ')
    monkeypatch.setattr(
        time, "sleep", lambda _: old.has(default=written.pop(0)) if written else None
    )
    old.carry()
    assert Server(tmp_path, 2).start() == {"default": '{"a": 2}', "other": "{}"}


def test_a_hundred_broken_ones_are_waited_for_as_long_as_one(
    tmp_path: Path, old: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    old.has(**{f"broken{n}": "{" for n in range(98)})
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    old.carry()
    assert len(pauses) == 5
    assert Server(tmp_path, 2).start() == {"default": '{"a": 1}', "other": "{}"}


def test_an_hour_later_it_is_not_used(
    tmp_path: Path, old: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    old.carry()
    later = time.time() + 3601
    monkeypatch.setattr(time, "time", lambda: later)
    assert Server(tmp_path, 2).start() == {}


def test_a_reset_without_workspaces_forgets_those_of_an_earlier_one(
    tmp_path: Path, old: Server
) -> None:
    old.carry()
    for path in old.folder.iterdir():
        path.unlink()
    old.carry()
    assert Server(tmp_path, 2).start() == {}


def test_each_server_of_a_user_has_its_own(tmp_path: Path, old: Server) -> None:
    old.carry()
    odd = Server(tmp_path, 5, name="../a b")
    odd.has(odd="{}")
    odd.carry()
    assert [path.parent for path in (old.kept, odd.kept)] == [old.state, old.state]
    assert set(Server(tmp_path, 6, name="../a b").start()) == {"odd"}
    assert set(Server(tmp_path, 2).start()) == {"default", "other"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "[" * 100_000,
        '{"at": "now", "left": "1", "files": {}}',
        '{"at": 1e999, "left": "1", "files": {}}',
        '{"at": NOW, "left": "1", "files": []}',
        '{"at": NOW, "left": "1", "files": {"a.jupyterlab-workspace": 1}}',
        '{"at": NOW, "left": "1", "files": {"../a.jupyterlab-workspace": "{}"}}',
        '{"at": NOW, "left": "1", "files": {"a/b.jupyterlab-workspace": "{}"}}',
        '{"at": NOW, "left": "1", "files": {"page_config.json": "{}"}}',
    ],
)
def test_anything_in_its_place_is_passed_over_and_taken_away(
    tmp_path: Path, old: Server, text: str
) -> None:
    old.carry()
    old.kept.write_text(text.replace("NOW", str(time.time())))
    before = sorted(path for path in tmp_path.rglob("*") if path != old.kept)
    assert Server(tmp_path, 2).start() == {}
    assert not old.kept.exists()
    new = [tmp_path / "environment-2"]
    assert sorted(tmp_path.rglob("*")) == sorted([*before, *new])


def test_no_pipe_folder_or_size_keeps_a_server_from_starting(tmp_path: Path, old: Server) -> None:
    old.carry()
    old.kept.unlink()
    os.mkfifo(old.kept)
    assert Server(tmp_path, 2).start() == {}
    old.kept.mkdir()
    assert Server(tmp_path, 2).start() == {}
    old.kept.rmdir()
    with (old.folder / "huge.jupyterlab-workspace").open("wb") as file:
        file.truncate(2**30)
    os.mkfifo(old.folder / "pipe.jupyterlab-workspace")
    (old.folder / "folder.jupyterlab-workspace").mkdir()
    old.carry()
    new = Server(tmp_path, 2)
    (new.folder / "other.jupyterlab-workspace").mkdir()  # in its way
    layout.take_up(new.state, new.environ)
    assert (new.folder / DEFAULT.replace("-37a8", "")).read_text() == '{"a": 1}'
    assert len(list(new.folder.iterdir())) == 2  # and no half of one


def test_a_work_folder_that_cannot_be_written_keeps_nobody_from_a_reset(
    tmp_path: Path, old: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "work").write_text("no folder")
    old.carry()
    assert "layout" in capsys.readouterr().err
    assert Server(tmp_path, 2).start() == {}


async def test_it_is_there_when_the_service_is_asked_and_not_after_a_refusal(
    lab: Any, service: ScriptedService, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = tmp_path / "workspaces"
    folder.mkdir()
    (folder / DEFAULT).write_text("{}")
    monkeypatch.setenv(layout.FOLDER_VARIABLE, str(folder))
    monkeypatch.setenv(layout.GENERATION_VARIABLE, "3")
    kept = lab.root / ".gpucamp" / "layout-second.json"
    seen: list[bool] = []
    answers = [(409, {"detail": "One is under way."}), (202, ACCEPTED)]

    def answer(request: HTTPServerRequest) -> tuple[int, Any]:
        seen.append(kept.exists())
        return answers.pop(0)

    monkeypatch.setattr(service, "answer", answer)
    refused = await lab.fetch("gpucamp/reset", method="POST", body={"undo": False})
    assert refused.code == 409
    assert not kept.exists()
    await lab.json("gpucamp/reset", method="POST", body={"undo": False})
    assert seen == [True, True]
    assert json.loads(kept.read_text())["left"] == "3"
