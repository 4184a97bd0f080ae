"""Installing again with the real pip, in a virtual environment; wheels of a folder, no index."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import subprocess
import sys
import time
import venv
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from wheels import wheel

from server_ext.i18n import gettext_for
from server_ext.reset import again, again_files, restoring
from server_ext.reset.again import Again
from server_ext.reset.again_files import AgainFiles
from server_ext.reset.again_report import Report
from server_ext.reset.environment_lock import Locked
from server_ext.reset.packages import environment_folders, installed

pytestmark = pytest.mark.timeout(300)
ENGLISH = gettext_for("en")


class Place:
    """A work folder, an index that is a folder, and an empty environment."""

    def __init__(self, folder: Path) -> None:
        self.work, self.index, self.prefix = (folder / n for n in ("work", "index", "venv"))
        for each in (self.work, self.index):
            each.mkdir()
        venv.create(self.prefix, symlinks=True, with_pip=False)
        wheel(self.index, "alpha", "1.0")
        wheel(self.index, "beta", "2.0")
        self.files = AgainFiles(self.work / ".gpucamp", "")

    @property
    def python(self) -> Path:
        return self.prefix / "bin" / "python"

    def wish(self, *lines: str, generation: int | None = 3) -> None:
        packages = [Locked(*line.split("==")) for line in lines]
        self.files.put(packages, "sha256:1", generation)

    def server(self, generation: int | None = 4) -> Again:
        """A new server of this user."""
        log = logging.getLogger("test")
        return Again(self.files, self.work, lambda: self.python, generation, log)

    def installed(self) -> dict[str, str]:
        (folder,) = environment_folders(str(self.python))
        return installed(folder)

    def told(self, generation: int | None = 4) -> dict[str, str]:
        """Name -> state, of the report; "" -> the whole's."""
        report = self.server(generation).tell(ENGLISH)
        states = {one["name"]: one["state"] for one in report["packages"]}
        return states | {"": report["state"]}

    def why(self, name: str) -> str:
        report = self.server().tell(ENGLISH)
        return next(str(one["why"]) for one in report["packages"] if one["name"] == name)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    made = Place(tmp_path)
    base = tmp_path / "base"
    base.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(made.index))
    monkeypatch.delenv("PIP_CONSTRAINT", raising=False)
    monkeypatch.setattr(restoring, "base_folder", lambda: str(base))
    return made


def test_what_was_chosen_is_installed_once(place: Place) -> None:
    assert place.told() == {"": "none"}
    place.wish("alpha==1.0", "beta==2.0")
    assert place.told() == {"alpha": "waiting", "beta": "waiting", "": "waiting"}
    asyncio.run(place.server().run())
    assert place.told() == {"alpha": "installed", "beta": "installed", "": "done"}
    assert place.installed() == {"alpha": "1.0", "beta": "2.0"}
    subprocess.run([place.python, "-c", "import alpha, beta"], check=True)
    assert not place.files.lock.exists()
    subprocess.run(
        [*(sys.executable, "-m", "pip", "--python"), place.python, "uninstall", "-qy", "alpha"],
        check=True,
    )
    asyncio.run(place.server(5).run())  # the next start does not do it again
    assert place.installed() == {"beta": "2.0"}
    assert place.told() == {"alpha": "installed", "beta": "installed", "": "done"}


def test_what_cannot_be_installed_is_told_and_keeps_nothing_from_the_others(
    place: Place,
) -> None:
    (place.index / "broken-1.0-py3-none-any.whl").write_bytes(b"no wheel")
    place.wish("nowhere==9.9", "alpha==1.0", "broken==1.0", "beta==2.0")
    asyncio.run(place.server().run())
    assert place.told() == {
        "nowhere": "failed",
        "alpha": "installed",
        "broken": "failed",
        "beta": "installed",
        "": "done",
    }
    assert "No matching distribution found for nowhere==9.9" in place.why("nowhere")
    assert "broken" in place.why("broken")
    assert place.why("alpha") == "" and not place.files.lock.exists()


def test_a_lock_that_is_none_is_told(place: Place) -> None:
    place.files.folder.mkdir()
    place.files.lock.write_text("--index-url http://elsewhere.example\nalpha==1.0\n")
    asyncio.run(place.server().run())
    assert place.told() == {"install-again.lock": "failed", "": "done"}
    assert "Line 1" in place.why("install-again.lock") and place.installed() == {}


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What pip is asked for; it is not run, and nothing is installed."""
    asked: list[str] = []

    async def refuse(command: list[str]) -> str:
        asked.append(await asyncio.to_thread(Path(command[-1]).read_text))
        return "no"

    monkeypatch.setattr(again, "_run", refuse)
    return asked


@pytest.mark.parametrize(
    ("chosen", "now", "done"),
    [
        *((3, 3, False), (3, 4, True), (3, 2, True)),
        *((None, 4, True), (3, None, True), (None, None, True)),  # nobody knows
    ],
)
def test_only_in_another_generation(
    place: Place, begun: list[str], chosen: int | None, now: int | None, done: bool
) -> None:
    place.wish("alpha==1.0", generation=chosen)
    asyncio.run(place.server(now).run())
    assert begun == (["alpha==1.0\n"] if done else [])
    assert not place.files.lock.exists()
    assert place.told(now)[""] == ("done" if done else "none")
    if now is not None:  # nothing of it is in the next environment
        assert place.told(now + 5)[""] == "none"


def test_an_undo_in_the_middle_ends_it(place: Place) -> None:
    place.wish("alpha==1.0", generation=3)
    wish = place.files.wish()
    assert wish is not None
    report = Report.of(wish)
    report.attempts = 1
    report.mark(wish.packages, "installing")
    place.files.write_report(report.keep())
    asyncio.run(place.server(3).run())
    assert place.told() == {"": "none"} and place.installed() == {}


def test_a_wish_from_long_ago_is_forgotten(place: Place) -> None:
    place.wish("alpha==1.0")
    past = time.time() - again.OLDEST_SECONDS - 60
    os.utime(place.files.lock, (past, past))
    asyncio.run(place.server().run())
    assert place.installed() == {} and not place.files.lock.exists()


def test_an_environment_without_a_python(place: Place) -> None:
    place.wish("alpha==1.0")
    asyncio.run(replace(place.server(), python=lambda: None).run())
    assert place.told() == {"alpha": "failed", "": "done"}
    assert "Python" in place.why("alpha")


def test_two_at_once_install_once(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.wish("alpha==1.0")
    begun: list[object] = []
    run = again._run

    async def counted(command: list[str]) -> str:
        begun.append(command)
        return await run(command)

    monkeypatch.setattr(again, "_run", counted)

    async def all_at_once() -> None:
        await asyncio.gather(*(place.server().run() for _ in range(3)))

    asyncio.run(all_at_once())
    assert len(begun) == 1 and place.installed() == {"alpha": "1.0"}


async def until(path: Path) -> None:
    for _ in range(6000):
        if await asyncio.to_thread(path.exists):
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"{path} did not come")


def test_an_end_of_the_server_ends_pip_and_the_next_goes_on(
    place: Place, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    place.wish("alpha==1.0", "beta==2.0")
    mark = tmp_path / "pid"
    slow = ["/bin/sh", "-c", f"echo $$ > {mark}.part; mv {mark}.part {mark}; exec sleep 600"]
    server = place.server()

    async def cut_off() -> None:
        task = asyncio.create_task(server.run())
        await until(mark)
        assert server.installs and server.tell(ENGLISH)["state"] == "installing"
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    with monkeypatch.context() as patch:
        patch.setattr(again, "pip_install", lambda *_: slow)
        asyncio.run(cut_off())
    pid = int(mark.read_text())
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert not server.installs
    assert place.told()[""] == "waiting"
    asyncio.run(place.server().run())
    assert place.told() == {"alpha": "installed", "beta": "installed", "": "done"}


def test_a_package_that_ends_each_server_is_given_up_and_the_others_are_not(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel(place.index, "gamma", "3.0")
    place.wish("alpha==1.0", "beta==2.0", "gamma==3.0")
    run = again._run

    class Killed(BaseException):
        pass

    async def deadly(command: list[str]) -> str:
        text = await asyncio.to_thread(Path(command[-1]).read_text)
        if "beta" in text:
            raise Killed
        return await run(command)

    monkeypatch.setattr(again, "_run", deadly)
    for _ in range(again.ATTEMPTS):
        with pytest.raises(Killed):
            asyncio.run(place.server().run())
    asyncio.run(place.server().run())
    assert place.told() == {
        "alpha": "installed",
        "beta": "failed",
        "gamma": "installed",
        "": "done",
    }
    assert "ended each time" in place.why("beta")


def test_what_a_kill_left_half_installed_is_not_taken_for_installed(place: Place) -> None:
    (folder,) = environment_folders(str(place.python))
    info = Path(folder, "alpha-1.0.dist-info")
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: alpha\nVersion: 1.0\n")
    place.wish("alpha==1.0")
    asyncio.run(place.server().run())
    assert place.told()["alpha"] == "installed"
    subprocess.run([place.python, "-c", "import alpha"], check=True)


SERVER = """
import asyncio, logging, sys
from pathlib import Path
from server_ext.reset import again, restoring
from server_ext.reset.again_files import AgainFiles
from server_ext.reset.again_report import Report
restoring.base_folder = lambda: sys.argv[3]
work, python = Path(sys.argv[1]), Path(sys.argv[2])
files = AgainFiles(work / ".gpucamp", "")
asyncio.run(again.Again(files, work, lambda: python, 4, logging.getLogger()).run())
"""


def test_killed_at_any_moment_the_next_server_goes_on(place: Place, tmp_path: Path) -> None:
    whole = None
    for part in (None, 0.3, 0.7):
        (tmp_path / f"{part}").mkdir()
        here = Place(tmp_path / f"{part}")
        here.wish("alpha==1.0", "nowhere==9.9", "beta==2.0")
        command = [sys.executable, "-c", SERVER, here.work, here.python, tmp_path / "base"]
        begun = time.monotonic()
        process = psutil.Popen(command)
        if part is None:
            process.wait()
            whole = time.monotonic() - begun
        else:
            assert whole is not None
            time.sleep(whole * part)
            if process.is_running():
                for child in [process, *process.children(recursive=True)]:  # as a container ends
                    child.kill()
            process.wait()
            asyncio.run(here.server().run())
        assert here.told() == {
            "alpha": "installed",
            "nowhere": "failed",
            "beta": "installed",
            "": "done",
        }, part
        assert not here.files.lock.exists() and here.installed() == {"alpha": "1.0", "beta": "2.0"}


def test_a_new_wish_is_not_taken_away_by_the_end_of_an_old_one(place: Place) -> None:
    place.wish("alpha==1.0")
    old = place.files.wish()
    assert old is not None
    place.wish("beta==2.0")
    place.files.finish(old.identity)
    new = place.files.wish()
    assert new is not None and [one.name for one in new.packages] == ["beta"]


def test_a_report_that_cannot_be_written_keeps_nothing_from_being_installed(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.wish("alpha==1.0")

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(again_files.json_file, "write", full)
    asyncio.run(place.server().run())
    assert place.installed() == {"alpha": "1.0"}


@pytest.mark.parametrize(
    "text",
    [
        *("", "[]", "{", '{"identity": 1}', '{"identity": "x", "attempts": 1, "packages": [1]}'),
        '{"identity": "x", "attempts": true, "packages": []}',
        '{"identity": "x", "attempts": 1, "packages": [{"name": "a", "version": "1"}]}',
        json.dumps(
            {
                "identity": "x",
                "attempts": 1,
                "packages": [{"name": "a", "version": "1", "state": "odd", "why": ""}],
            }
        ),
        "{" * 100_000,
    ],
)
def test_a_report_that_is_none(place: Place, begun: list[str], text: str) -> None:
    place.files.folder.mkdir()
    place.files.report.write_text(text)
    assert place.told() == {"": "none"}
    place.wish("alpha==1.0")
    asyncio.run(place.server().run())
    assert place.told() == {"alpha": "failed", "": "done"} and len(begun) == 1
    assert place.why("alpha") == "no"


def test_what_pip_said() -> None:
    output = (
        "Collecting x\n  \x1b[31mERROR: No x (from versions: none)\x1b[0m\n"
        "ERROR: No matching distribution found for x\nERROR: No matching distribution found for x\n"
        "[notice] A new release\n"
    )
    assert restoring.why(output) == (
        "No x (from versions: none) No matching distribution found for x"
    )
    assert restoring.why("Killed\n\n") == "Killed"
    assert restoring.why("") == ""
    assert len(restoring.why("ERROR: " + "x" * 10_000)) == 400
