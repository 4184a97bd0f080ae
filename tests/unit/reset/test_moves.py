"""What was saved outside of work is moved there: whole, over nothing, and not lost by a kill."""

from __future__ import annotations

import errno
import hashlib
import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from server_ext.errors import Conflict, GpucampServerError, NotFound
from server_ext.reset import folders, moves, rename, tree_copy
from server_ext.reset.moves import Mover

pytestmark = pytest.mark.timeout(120)


def never() -> bool:
    return False


@pytest.fixture
def mover(tmp_path: Path) -> Iterator[Mover]:
    """Between two file systems."""
    with tempfile.TemporaryDirectory(dir="/dev/shm", prefix="gpucamp-test-") as home:
        (tmp_path / "work").mkdir()
        assert os.stat(home).st_dev != tmp_path.stat().st_dev
        yield Mover(Path(home), tmp_path / "work", never)


def tree(folder: Path) -> dict[str, tuple[object, ...]]:
    """All that is in it, to be compared."""
    found: dict[str, tuple[object, ...]] = {}
    for path in sorted(folder.rglob("*")):
        facts = path.lstat()
        what: object = None
        if path.is_symlink():
            what = os.readlink(path)
        elif stat.S_ISREG(facts.st_mode):
            what = hashlib.sha256(path.read_bytes()).hexdigest()
        name = str(path.relative_to(folder))
        found[name] = (stat.S_IFMT(facts.st_mode), what, facts.st_mtime_ns, facts.st_nlink)
        if not path.is_symlink():
            found[name] += (stat.S_IMODE(facts.st_mode),)
    return found


def make_odd(folder: Path) -> None:
    """A folder with all kinds of things."""
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "empty").mkdir()
    (folder / "a file").write_bytes(os.urandom(100_000))
    os.link(folder / "a file", folder / "deep" / "the same")
    (folder / "loop").symlink_to("..")
    (folder / "nowhere").symlink_to("/nowhere/at/all")
    (folder / "deep" / "\u2028 'odd'\n\\").write_text("x")
    Path(os.fsdecode(os.fsencode(folder) + b"/not \xff unicode")).write_text("y")
    os.mkfifo(folder / "pipe")
    (folder / "secret").write_text("z")
    (folder / "secret").chmod(0o000)
    (folder / "deep" / "er" / "closed").write_text("closed")
    (folder / "deep" / "er").chmod(0o500)
    with (folder / "sparse").open("wb") as file:
        file.write(b"start")
        file.seek(200 * 2**20)
        file.write(b"end")
        file.truncate(300 * 2**20)
    os.utime(folder / "a file", ns=(1_000_000_000, 1_234_567_890_123_456_789))
    os.utime(folder / "deep", ns=(1_000_000_000, 1_134_567_890_123_456_789))


def test_a_folder_arrives_with_links_holes_odd_names_modes_and_times(mover: Mover) -> None:
    source = mover.home / "data"
    source.mkdir()
    make_odd(source)
    before = tree(source)
    assert mover.move("data") == "from-home/data"
    moved = mover.work / "from-home" / "data"
    assert tree(moved) == before
    assert (moved / "sparse").stat().st_blocks * 512 < 2**21
    assert list(mover.home.iterdir()) == []
    assert list((mover.work / ".gpucamp" / "moving").iterdir()) == []


@pytest.mark.parametrize("name", ["notes.txt", "README", ".tar", "x.tar.gz", "folder.d"])
def test_nothing_is_written_over(mover: Mover, name: str) -> None:
    if name.startswith("."):
        with pytest.raises(NotFound):
            mover.move(name)
        return
    for number in range(3):
        source = mover.home / name
        if name == "folder.d":
            source.mkdir()
            source /= "inside"
        source.write_text(f"{number}")
        mover.move(name)
    told = {path.name: path for path in (mover.work / "from-home").iterdir()}
    expected = {
        "notes.txt": ["notes.txt", "notes-2.txt", "notes-3.txt"],
        "README": ["README", "README-2", "README-3"],
        "x.tar.gz": ["x.tar.gz", "x.tar-2.gz", "x.tar-3.gz"],
        "folder.d": ["folder.d", "folder.d-2", "folder.d-3"],
    }[name]
    assert sorted(told) == sorted(expected)
    for number, one in enumerate(expected):
        path = told[one] / "inside" if name == "folder.d" else told[one]
        assert path.read_text() == f"{number}"


def test_on_one_file_system_nothing_is_copied(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "data").mkdir()
    number = (tmp_path / "data").stat().st_ino
    assert Mover(tmp_path, tmp_path / "work", never).move("data") == "from-home/data"
    assert (tmp_path / "work" / "from-home" / "data").stat().st_ino == number


def test_a_link_is_moved_and_what_it_leads_to_stays(mover: Mover) -> None:
    (mover.work / "mine").write_text("mine")
    (mover.home / "link").symlink_to(mover.work)
    mover.move("link")
    assert os.readlink(mover.work / "from-home" / "link") == str(mover.work)
    assert (mover.work / "mine").read_text() == "mine"


@pytest.mark.parametrize(
    "name", ["", ".", "..", ".bashrc", "work", "a/b", "../x", "nothing", "a\0"]
)
def test_what_is_not_ones_own_is_refused(mover: Mover, name: str) -> None:
    (mover.home / ".bashrc").write_text("x")
    (mover.home / "a").mkdir()
    (mover.home / "a" / "b").write_text("x")
    with pytest.raises(NotFound):
        mover.move(name)
    assert (mover.home / "a" / "b").exists() and (mover.home / ".bashrc").exists()


@pytest.mark.parametrize("what", ["file", "link"])
def test_a_target_that_is_no_folder_of_work(mover: Mover, what: str, tmp_path: Path) -> None:
    (mover.home / "data").write_text("x")
    target = mover.work / "from-home"
    if what == "file":
        target.write_text("x")
    else:
        target.symlink_to(tmp_path)
    with pytest.raises(Conflict, match="from-home"):
        mover.move("data")
    assert (mover.home / "data").read_text() == "x"


def test_what_is_written_to_meanwhile_stays(mover: Mover, monkeypatch: pytest.MonkeyPatch) -> None:
    source = mover.home / "data"
    source.mkdir()
    (source / "log").write_text("one")
    copied = tree_copy.copy

    def copy(*arguments: object) -> object:
        marks = copied(*arguments)  # type: ignore[arg-type]
        (source / "log").write_text("two lines")
        return marks

    monkeypatch.setattr(tree_copy, "copy", copy)
    with pytest.raises(Conflict, match="writes to it"):
        mover.move("data")
    assert (source / "log").read_text() == "two lines"
    assert list((mover.work / "from-home").iterdir()) == []


@pytest.mark.parametrize("change", ["write", "add"])
def test_what_changes_after_the_copy_is_at_its_place_stays_too(
    mover: Mover, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    source = mover.home / "data"
    source.mkdir()
    (source / "log").write_text("one")
    (source / "other").write_text("other")
    taken = tree_copy.take_away

    def take_away(marks: dict[str, tree_copy.Mark]) -> bool:
        (source / ("log" if change == "write" else "new")).write_text("two lines")
        return taken(marks)

    monkeypatch.setattr(tree_copy, "take_away", take_away)
    with pytest.raises(Conflict, match="from-home/data"):
        mover.move("data")
    (left,) = source.iterdir()
    assert left.read_text() == "two lines"
    assert (mover.work / "from-home" / "data" / "log").read_text() == "one"


@pytest.mark.parametrize("name", ["data", "data/log"])
def test_what_a_program_has_open_for_writing_stays(mover: Mover, name: str) -> None:
    path = mover.home / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("one")
    with path.open("a"):
        with pytest.raises(Conflict, match="writes to it"):
            mover.move("data")
        assert path.read_text() == "one" and not (mover.work / "from-home").exists()
    (mover.home / "data2").write_text("of a name that begins alike")
    with path.open(), (mover.home / "data2").open("a"):
        assert mover.move("data") == "from-home/data"


def test_a_full_disk_leaves_everything_where_it_is(
    mover: Mover, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = mover.home / "data"
    source.mkdir()
    for number in range(5):
        (source / f"{number}").write_text("x" * 100)
    before = tree(source)
    sendfile, calls = os.sendfile, iter(range(9))

    def full(*arguments: int) -> int:
        if next(calls) < 2:
            return sendfile(*arguments)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "sendfile", full)
    with pytest.raises(Conflict, match="No space"):
        mover.move("data")
    assert tree(source) == before
    assert list((mover.work / "from-home").iterdir()) == []
    assert list((mover.work / ".gpucamp" / "moving").iterdir()) == []


def test_too_little_room_is_told_before(mover: Mover, monkeypatch: pytest.MonkeyPatch) -> None:
    (mover.home / "data").write_bytes(b"x" * 3_000_000)
    monkeypatch.setattr(
        moves.shutil, "disk_usage", lambda _: moves.shutil._ntuple_diskusage(1, 1, 0)
    )
    with pytest.raises(Conflict, match=r"4 MB are needed|3 MB are needed"):
        mover.move("data")
    assert (mover.home / "data").stat().st_size == 3_000_000


def test_the_end_of_the_server_ends_a_move(mover: Mover) -> None:
    (mover.home / "data").write_text("x")
    with pytest.raises(Conflict, match="ended"):
        Mover(mover.home, mover.work, lambda: True).move("data")
    assert (mover.home / "data").read_text() == "x"


def test_it_is_known_how_far_a_move_is(mover: Mover, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes of data, chunk by chunk; and when it is over nothing is moved."""
    source = mover.home / "data"
    source.mkdir()
    (source / "one").write_bytes(b"x" * 100_000)
    (source / "two").write_bytes(b"y" * 100_000)
    monkeypatch.setattr(tree_copy, "_CHUNK", 65_536)
    seen: list[tuple[str, int, int | None]] = []

    def look() -> bool:
        now = mover.progress
        seen.append((now.path, now.copied, now.total))
        return False

    Mover(mover.home, mover.work, look, mover.progress).move("data")
    assert {path for path, _copied, _total in seen} == {"data"}
    copied = [copied for _path, copied, _total in seen]
    # looked at before each entry and after each chunk, when its bytes are not yet counted
    assert copied == [0, 0, 0, 65_536, 100_000, 100_000, 165_536]
    assert {total for _path, _copied, total in seen} == {seen[0][2]}
    assert seen[0][2] is not None and 200_000 <= seen[0][2] < 300_000
    assert (mover.progress.path, mover.progress.copied) == ("", 200_000)
    with pytest.raises(NotFound):
        mover.move("nothing")
    assert mover.progress.path == ""


def test_a_socket_is_no_data(mover: Mover) -> None:
    source = mover.home / "data"
    source.mkdir()
    (source / "file").write_text("x")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(source / "socket"))
        mover.move("data")
    assert [path.name for path in (mover.work / "from-home" / "data").iterdir()] == ["file"]
    assert not source.exists()


KILLED = """
import os, sys, signal
from pathlib import Path
from server_ext.reset import folders, moves, rename, tree_copy

calls, at = 0, int(sys.argv[3])

def counted(function):
    def call(*arguments, **options):
        global calls
        calls += 1
        if calls == at:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **options)
    return call

for name in "mkdir sendfile link symlink unlink rmdir chmod rename fchmod".split():
    setattr(os, name, counted(getattr(os, name)))
folders.to_disk = counted(folders.to_disk)
rename._renameat2 = counted(rename._renameat2)
moves.Mover(Path(sys.argv[1]), Path(sys.argv[2]), lambda: False).move("data")
print(calls)
"""


def test_killed_at_any_step_the_original_or_the_copy_is_whole(mover: Mover, tmp_path: Path) -> None:
    at = 0
    while True:
        at += 1
        home, work = mover.home / f"{at}", tmp_path / f"work{at}"
        (home / "data" / "inner").mkdir(parents=True)
        work.mkdir()
        (home / "data" / "one").write_text("one")
        os.link(home / "data" / "one", home / "data" / "inner" / "same")
        (home / "data" / "link").symlink_to("one")
        before = tree(home / "data")
        done = subprocess.run(
            [sys.executable, "-c", KILLED, str(home), str(work), str(at)], capture_output=True
        )
        survivor = Mover(home, work, never)
        copies = [path for path in (work / "from-home").glob("*")]
        if copies:
            assert [tree(copy) for copy in copies] == [before], at
        else:
            assert tree(home / "data") == before, at
        survivor.clear()
        assert not any((work / ".gpucamp" / "moving").glob("*"))
        if (home / "data").exists():
            survivor.move("data")  # what is left can be moved still
        assert not (home / "data").exists()
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    assert at > 15


def test_a_move_that_goes_on_elsewhere_is_not_cleared_away(mover: Mover) -> None:
    hidden = mover.work / ".gpucamp" / "moving" / "abc"
    hidden.mkdir(parents=True)
    (hidden / "copy").write_text("x")
    with folders.held(hidden):
        mover.clear()
        assert (hidden / "copy").exists()
    mover.clear()
    assert not hidden.exists()


def test_a_rename_never_replaces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for able in (True, False):
        if not able:  # a file system that knows no such rename

            def unable(*_: object) -> None:
                raise OSError(errno.EINVAL, "Invalid argument")

            monkeypatch.setattr(rename, "_renameat2", unable)
        (tmp_path / "a").write_text("a")
        (tmp_path / "b").write_text("b")
        with pytest.raises(FileExistsError):
            rename.without_replacing(tmp_path / "a", tmp_path / "b")
        assert (tmp_path / "b").read_text() == "b"
        rename.without_replacing(tmp_path / "a", tmp_path / f"c{able}")
        assert (tmp_path / f"c{able}").read_text() == "a"


def test_every_refusal_is_an_answer(mover: Mover) -> None:
    (mover.home / "data").write_text("x")
    mover.work.rename(mover.work.with_name("gone"))
    with pytest.raises(GpucampServerError):
        mover.move("data")
    assert (mover.home / "data").read_text() == "x"
