"""A ledger in SQLite: its file, who may read it, and what happens when it fails."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import event

from hub_ext.errors import LedgerUnavailable
from hub_ext.ledger import Ledger, database
from hub_ext.models import Request

ANN = Request("ann", "", 1)
ROOT = Path(__file__).parents[3]


@pytest.fixture
def kind() -> str:
    return "sqlite"


@pytest.fixture
def ledger_file(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite"


def test_nothing_is_opened_before_the_first_call(tmp_path):
    Ledger(f"sqlite:///{tmp_path / 'x' / 'ledger.sqlite'}")
    assert list(tmp_path.iterdir()) == []


def test_only_the_owner_may_read_the_ledger(tmp_path, now):
    file = tmp_path / "hub" / "ledger.sqlite"
    ledger = Ledger(f"sqlite:///{file}")
    ledger.migrate()
    ledger.enqueue(ANN, now)
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    found = {path.name: stat.S_IMODE(path.stat().st_mode) for path in file.parent.iterdir()}
    names = ("ledger.sqlite", "ledger.sqlite-wal", "ledger.sqlite-shm", "ledger.sqlite-mark")
    assert set(found) == set(names)
    assert set(found.values()) == {0o600}
    ledger.close()


def test_a_ledger_that_others_could_read_is_closed_to_them(ledger, ledger_file):
    ledger_file.chmod(0o644)
    ledger.migrate()
    assert stat.S_IMODE(ledger_file.stat().st_mode) == 0o600


def test_each_connection_is_durable_and_checks_foreign_keys(ledger):
    with ledger._database.write() as connection:
        pragmas = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    assert pragmas == {
        "journal_mode": "wal",
        "synchronous": 2,  # FULL
        "foreign_keys": 1,
        "busy_timeout": 20000,
    }


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:"])
def test_a_ledger_in_memory_is_refused(url):
    with pytest.raises(ValueError, match="survive a restart"):
        Ledger(url)


def fails(call, *words):
    with pytest.raises(LedgerUnavailable) as caught:
        call()
    message = str(caught.value)
    for word in words:
        assert word in message
    return message


def test_a_ledger_without_tables_says_so(ledger_file, open_ledger):
    ledger_file.touch()
    fails(open_ledger(f"sqlite:///{ledger_file}").queue, str(ledger_file), "call migrate() first")


def test_a_ledger_that_vanished_is_not_begun_anew(ledger, ledger_file, now):
    ledger.enqueue(ANN, now)
    ledger.close()
    ledger_file.unlink()
    fails(ledger.queue, str(ledger_file), "must exist")
    fails(lambda: ledger.enqueue(ANN, now), str(ledger_file))
    assert not ledger_file.exists()


def test_a_file_that_is_no_ledger_is_left_alone(ledger_file, open_ledger):
    ledger_file.write_bytes(b"certainly not SQLite" * 500)
    before = ledger_file.read_bytes()
    fails(open_ledger(f"sqlite:///{ledger_file}").migrate, "not a database", "backup")
    assert ledger_file.read_bytes() == before


@pytest.mark.parametrize("size", [0, 2048])
def test_a_ledger_cut_to_nothing_is_not_taken_for_a_new_one(
    ledger, ledger_file, open_ledger, monkeypatch, size
):
    monkeypatch.setattr(database, "CREATION_SECONDS", 0.2)
    ledger.close()
    left = ledger_file.read_bytes()[:size]
    ledger_file.write_bytes(left)
    again = open_ledger(f"sqlite:///{ledger_file}")
    fails(again.migrate, f"empty ({size} bytes)", "backup", "delete")
    assert ledger_file.read_bytes() == left


@pytest.mark.parametrize("pages", [1, 4])
def test_a_ledger_that_lost_its_last_pages_is_refused(
    ledger, ledger_file, make_devices, now, pages
):
    """SQLite would work with what is left, as long as nothing on the lost pages is asked for."""
    ledger.record_inventory(make_devices(1), now)
    ledger.close()
    content = ledger_file.read_bytes()
    ledger_file.write_bytes(content[: len(content) - pages * 4096])
    damaged = Ledger(f"sqlite:///{ledger_file}")
    fails(damaged.migrate, "malformed", "backup")
    damaged.close()


def test_a_truncated_ledger_leases_nothing(ledger, ledger_file, make_devices, now, first_free):
    ledger.record_inventory(make_devices(1), now)
    ledger.close()  # writes the WAL back
    content = ledger_file.read_bytes()
    ledger_file.write_bytes(content[: len(content) // 3])
    damaged = Ledger(f"sqlite:///{ledger_file}")
    fails(lambda: damaged.acquire(ANN, first_free(1), now), "malformed", "backup")
    damaged.close()


def killed(ledger_file: Path, folder: Path, *left: str) -> str:
    """URL of a copy of the ledger as a process that was killed left it, with only these files."""
    folder.mkdir()
    for suffix in left:
        shutil.copy(f"{ledger_file}{suffix}", folder / f"{ledger_file.name}{suffix}")
    return f"sqlite:///{folder / ledger_file.name}"


def test_a_ledger_that_lost_what_was_written_last_is_refused(
    ledger, ledger_file, open_ledger, make_devices, now, first_free, tmp_path
):
    """What is left without -wal has no flaw, but the device would be leased a second time."""
    ledger.record_inventory(make_devices(1), now)
    ledger.close()  # all is in the file
    lease = ledger.acquire(ANN, first_free(1), now)  # and this in -wal
    whole = open_ledger(killed(ledger_file, tmp_path / "whole", "", "-wal", "-mark"))
    whole.migrate()
    assert whole.leases() == (lease,)
    behind = open_ledger(killed(ledger_file, tmp_path / "behind", "", "-mark"))
    mark = tmp_path / "behind" / f"{ledger_file.name}-mark"
    fails(behind.migrate, "latest changes", "-wal", str(mark))
    mark.unlink()  # as the message says
    behind.migrate()
    assert behind.leases() == ()


def test_a_change_that_is_not_committed_leaves_no_mark(ledger, ledger_file, make_devices, now):
    ledger.record_inventory(make_devices(1), now)
    mark = Path(f"{ledger_file}-mark")
    before = mark.read_bytes()

    def choose(_snapshot):
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        ledger.acquire(ANN, choose, now)
    assert mark.read_bytes() == before
    ledger.begin_run("next", now)
    assert mark.read_bytes() > before


def test_a_ledger_begun_anew_is_not_held_for_an_older_one(
    ledger, ledger_file, open_ledger, make_devices, now
):
    ledger.record_inventory(make_devices(1), now)
    ledger.close()
    ledger_file.unlink()
    again = open_ledger(f"sqlite:///{ledger_file}")
    again.migrate()
    assert again.devices() == ()


def test_a_folder_that_is_a_file_is_explained(tmp_path):
    (tmp_path / "hub").touch()
    fails(Ledger(f"sqlite:///{tmp_path / 'hub' / 'l.sqlite'}").migrate, "cannot be opened")


def test_a_full_disk_leases_nothing_and_loses_nothing(ledger, make_devices, now, first_free):
    """SQLite's own limit of pages stands for the disk: the error is the same SQLITE_FULL."""
    ledger.record_inventory(make_devices(1), now)
    before = ledger.snapshot(now)
    ledger.close()
    engine = ledger._database.engine

    @event.listens_for(engine, "connect")
    def limit(connection, _record):
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count={pages}")

    def fill():
        for number in range(2000):
            ledger.enqueue(Request(f"user-{number}", "x" * 200, 1), now)

    fails(fill, "full", "Free some space")
    waiting = len(ledger.queue())
    event.remove(engine, "connect", limit)
    ledger.close()
    assert ledger.snapshot(now).devices == before.devices
    assert len(ledger.queue()) == waiting
    assert ledger.acquire(ANN, first_free(1), now), "works again with space"


def test_a_ledger_locked_by_another_program_gives_up(ledger, ledger_file, now, monkeypatch):
    ledger.close()
    monkeypatch.setattr(database, "LOCK_SECONDS", 0.2)
    other = sqlite3.connect(ledger_file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        fails(lambda: ledger.enqueue(ANN, now), "locked", "fuser")
        assert ledger.queue() == (), "reading goes on"
    finally:
        other.rollback()
        other.close()
    assert ledger.enqueue(ANN, now)


AS_NOBODY = """
import os, sys
from datetime import UTC, datetime
from hub_ext.errors import LedgerUnavailable
from hub_ext.ledger import Ledger
from hub_ext.models import Request
scratch, target = (Ledger("sqlite:///" + path) for path in sys.argv[1:])
def try_both(ledger):
    for call in (
        ledger.migrate,
        lambda: ledger.acquire(Request("ann", "", 0), lambda s: (), datetime.now(UTC)),
    ):
        try:
            call()
        except LedgerUnavailable as error:
            print(error)
        else:
            print("no error")
try_both(scratch)  # loads all of Python that nobody may not be able to read
if os.geteuid() == 0:
    os.setgroups([])
    os.setresgid(65534, 65534, 65534)
    os.setresuid(65534, 65534, 65534)
try_both(target)
"""


def test_a_ledger_that_may_not_be_written_leases_nothing(tmp_path, now):
    with tempfile.TemporaryDirectory() as name:  # pytest's own folder is closed to nobody
        folder, file = Path(name), Path(name) / "ledger.sqlite"
        ledger = Ledger(f"sqlite:///{file}")
        ledger.migrate()
        ledger.enqueue(ANN, now)
        ledger.close()
        file.chmod(0o444)
        folder.chmod(0o555)
        result = subprocess.run(
            [sys.executable, "-c", AS_NOBODY, str(tmp_path / "scratch.sqlite"), str(file)],
            capture_output=True,
            text=True,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            timeout=60,
        )
        folder.chmod(0o755)
        assert result.returncode == 0, result.stdout + result.stderr
        lines = result.stdout.splitlines()
        assert lines[:2] == ["no error", "no error"]
        assert "writable" in lines[2]
        assert "writable" in lines[3]
        with closing(sqlite3.connect(file)) as connection:
            assert connection.execute("SELECT count(*) FROM lease").fetchone() == (0,)


def test_percent_signs_in_the_path_are_no_format(tmp_path, now):
    ledger = Ledger(f"sqlite:///{tmp_path / '100%20 é?'}/ledger.sqlite")
    ledger.migrate()
    ledger.enqueue(ANN, now)
    assert len(ledger.queue()) == 1
    ledger.close()
