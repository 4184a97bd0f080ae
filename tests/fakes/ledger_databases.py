"""Fresh ledgers for tests, on each database that a ledger may be kept in."""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from postgres_cluster import shared_cluster

from hub_ext.ledger import Ledger

KINDS = ("sqlite", "postgresql")


@contextmanager
def new_ledger(kind: str, folder: Path) -> Iterator[str]:
    """The URL of a new ledger, migrated and empty; a SQLite file is made in `folder`."""
    if kind == "sqlite":
        file = folder / "ledger.sqlite"
        shutil.copy(_sqlite_template(), file)
        yield f"sqlite:///{file}"
        return
    cluster = shared_cluster()
    database = cluster.new_database(_postgres_template())
    try:
        yield cluster.url(database)
    finally:
        cluster.drop(database)


@contextmanager
def new_database(kind: str, folder: Path) -> Iterator[str]:
    """The URL of a database without any tables."""
    if kind == "sqlite":
        yield f"sqlite:///{folder / 'ledger.sqlite'}"
        return
    cluster = shared_cluster()
    database = cluster.new_database()
    try:
        yield cluster.url(database)
    finally:
        cluster.drop(database)


# migrating takes longer than most tests, copying does not


@functools.cache
def _sqlite_template() -> Path:
    folder = tempfile.TemporaryDirectory(prefix="ledger-")
    atexit.register(folder.cleanup)
    file = Path(folder.name) / "ledger.sqlite"
    _migrate(f"sqlite:///{file}")
    return file


@functools.cache
def _postgres_template() -> str:
    database = shared_cluster().new_database()
    _migrate(shared_cluster().url(database))
    return database


def _migrate(url: str) -> None:
    ledger = Ledger(url)
    ledger.migrate()
    ledger.close()
