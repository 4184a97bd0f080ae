"""Files of environments that were left: who may read them, and what of them is read."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from local_reader import LocalReader
from resets import reset, undo
from service_server import RunningService, running_service
from service_world import FakeEngine, World, make_ledger, now

from hub_ext import kept_files_reader
from hub_ext.errors import Conflict, EngineUnavailable, NotFound
from hub_ext.kept_files_reader import MOST_ENTRIES, Refused, entries, opened
from hub_ext.service import kept_files
from hub_ext.service.kept_files import KeptFiles

FILES = "api/v1/users/ada/server/generations/1/files"
FILE = "api/v1/users/ada/server/generations/1/file"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """What ada left in generation 1."""
    home = tmp_path / "home"
    (home / ".config" / "tool").mkdir(parents=True)
    (home / ".config" / "tool" / "settings.json").write_text('{"a": 1}')
    (home / "big").write_bytes(bytes(range(256)) * 400)
    (home / "naïve name").write_text("x")
    (home / "out").symlink_to(tmp_path)
    (home / "passwd").symlink_to("/etc/passwd")
    (home / "inside").symlink_to("big")
    os.mkfifo(home / "fifo")
    (tmp_path / "secret").write_text("of others")
    return home


@pytest.fixture
def world(tmp_path: Path, home: Path) -> Iterator[World]:
    ledger = make_ledger(tmp_path)
    world = World(ledger)
    reset(ledger, "ada", "", now())
    world.kept["ada", "", 1] = home
    yield world
    ledger.close()


# -- the reader


def test_a_folder_is_listed_folders_first(home: Path) -> None:
    found = entries(str(home), "")
    kinds = [(each["name"], each["kind"], each["bytes"]) for each in found["entries"]]
    assert kinds == [
        (".config", "folder", None),
        ("big", "file", 102_400),
        ("fifo", "other", None),
        ("inside", "link", None),
        ("naïve name", "file", 1),
        ("out", "link", None),
        ("passwd", "link", None),
    ]
    (below,) = entries(str(home), ".config/tool")["entries"]
    assert (below["name"], below["bytes"]) == ("settings.json", 8)
    assert abs(below["modified_at"] - now().timestamp()) < 1000
    assert entries(str(home), "/.config//tool/") == entries(str(home), ".config/tool")


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("nothing", "missing"),
        ("..", "missing"),
        (".config/../..", "missing"),
        ("./.config", "missing"),
        ("out", "no-folder"),
        ("out/home", "no-folder"),
        ("big", "no-folder"),
        ("fifo", "no-folder"),
        ("big/x", "no-folder"),
        ("x" * 300, "no-folder"),
    ],
)
def test_no_other_folder_is_listed(home: Path, path: str, code: str) -> None:
    with pytest.raises(Refused, match=f"^{code}$"):
        entries(str(home), path)


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("", "no-file"),
        (".config", "no-file"),
        ("fifo", "no-file"),
        ("passwd", "no-file"),
        ("inside", "no-file"),
        ("out/secret", "no-file"),
        ("../secret", "missing"),
        ("nothing", "missing"),
    ],
)
def test_no_other_file_is_read(home: Path, path: str, code: str) -> None:
    with pytest.raises(Refused, match=f"^{code}$"):
        opened(str(home), path)


def test_a_large_folder_is_listed_in_part(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_files_reader, "MOST_ENTRIES", 5)
    found = entries(str(home), "")
    assert len(found["entries"]) == 5 and found["more"] == 2
    assert MOST_ENTRIES == 2000


# -- over REST


@pytest.fixture
def service(world: World) -> Iterator[RunningService]:
    with running_service(world) as running:
        yield running
    assert world.readers == [], "no reader is left"


def test_the_owner_and_an_admin_read(service: RunningService, home: Path) -> None:
    for token in ("ada-token", "admin-token"):
        answer = service("GET", FILES, token, params={"path": ".config"})
        assert answer.status_code == 200
        assert answer.json()["path"] == ".config" and answer.json()["more"] == 0
        assert [each["name"] for each in answer.json()["entries"]] == ["tool"]
        answer = service("GET", FILE, token, params={"path": "big"})
        assert answer.content == (home / "big").read_bytes()
        assert answer.headers["Content-Type"] == "application/octet-stream"
        assert answer.headers["Content-Disposition"] == "attachment; filename*=UTF-8''big"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
    answer = service("GET", FILE, params={"path": "naïve name"})
    assert answer.headers["Content-Disposition"].endswith("na%C3%AFve%20name")


@pytest.mark.parametrize(
    ("token", "status"),
    [
        ("bob-token", 404),
        ("instructor-token", 404),
        ("ada-server-token", 403),
        ("stranger-token", 403),
        (None, 401),
    ],
)
def test_nobody_else_does(service: RunningService, token: str | None, status: int) -> None:
    for path in (FILES, FILE):
        answer = service("GET", path, token, params={"path": "big"})
        assert answer.status_code == status, answer.text


@pytest.mark.parametrize("number", ["2", "3", "99", "0", "x", "-1", "01", "1" * 30])
def test_only_what_is_kept(service: RunningService, number: str) -> None:
    for what in ("files", "file"):
        answer = service("GET", f"api/v1/users/ada/server/generations/{number}/{what}")
        assert answer.status_code == 404, answer.text


def test_a_volume_that_is_gone(service: RunningService, world: World) -> None:
    world.kept.clear()
    assert service("GET", FILES).status_code == 404


def test_what_was_left_by_an_undo_is_read_too(service: RunningService, world: World) -> None:
    undo(world.ledger, "ada", "", now())
    world.kept["ada", "", 2] = world.kept["ada", "", 1]
    assert service("GET", FILES).status_code == 404, "in use"
    assert service("GET", FILES.replace("/1/", "/2/")).status_code == 200


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("path=..%2Fsecret", 404),
        ("path=out%2Fsecret", 404),
        ("path=%2Fetc%2Fpasswd", 404),
        ("path=nothing", 404),
        ("path=fifo", 404),
        ("path=" + "x" * 5000, 400),
        ("path=a&other=1", 400),
    ],
)
def test_bad_paths(service: RunningService, query: str, status: int) -> None:
    for what in (FILES, FILE):
        answer = service("GET", f"{what}?{query}")
        assert answer.status_code == status, answer.text
        assert answer.json()["detail"]


# -- what goes wrong in between


def files_of(world: World, reader: LocalReader | None = None, engine: Any = None) -> KeptFiles:
    return KeptFiles(world.ledger, engine or FakeEngine(world), reader or LocalReader(), "image")


async def test_one_of_a_user_and_few_at_a_time(world: World) -> None:
    files = files_of(world)
    async with files.file("ada", "", 1, "big") as first:
        with pytest.raises(Conflict, match="already"):
            await files.entries("ada", "", 1, "")
        assert len(b"".join([chunk async for chunk in first.content])) == first.size == 102_400
    await files.close()
    assert await files.entries("ada", "", 1, "") and await files.close() is None
    assert world.readers == []


async def test_a_file_that_is_cut_short_is_an_error(world: World) -> None:
    reader = LocalReader()
    reader.cut = 50_000
    files = files_of(world, reader)
    with pytest.raises(EngineUnavailable, match="cut short"):
        async with files.file("ada", "", 1, "big") as found:
            async for _chunk in found.content:
                pass
    for cut in (0, 5):
        reader.cut = cut
        with pytest.raises(EngineUnavailable, match="could not be read"):
            async with files.file("ada", "", 1, "big"):
                pass
    await files.close()
    assert world.readers == []


async def test_a_reader_that_hangs_is_given_up(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = LocalReader()
    reader.hangs = True
    files = files_of(world, reader)
    with monkeypatch.context() as patched:
        patched.setattr(kept_files, "LIST_SECONDS", 0.1)
        with pytest.raises(EngineUnavailable, match="in time"):
            await files.entries("ada", "", 1, "")
    await files.close()
    assert world.readers == []
    reader.hangs = False
    assert (await files.entries("ada", "", 1, "big/.."[:0]))["entries"]


@pytest.mark.parametrize("after", [0.0, 0.01, 0.05, 0.1])
async def test_whoever_leaves_leaves_no_reader(world: World, after: float) -> None:
    files = files_of(world)
    task = asyncio.create_task(files.entries("ada", "", 1, ""))
    await asyncio.sleep(after)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await files.close()
    assert world.readers == []
    assert (await files.entries("ada", "", 1, ""))["entries"]


async def test_an_engine_that_does_not_remove_is_not_waited_for(world: World) -> None:
    class Stubborn(FakeEngine):
        async def remove(self, container_id: str) -> None:
            raise EngineUnavailable("away")

    files = files_of(world, engine=Stubborn(world))
    assert await files.entries("ada", "", 1, "")
    assert await files.entries("ada", "", 1, "")
    await files.close()


async def test_what_no_file_can_be_called(world: World) -> None:
    for path in ("a\0b", "\ud800"):
        with pytest.raises(NotFound):
            await files_of(world).entries("ada", "", 1, path)
