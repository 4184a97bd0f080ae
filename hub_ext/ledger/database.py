"""Opens the ledger's database, one transaction at a time.

Guarantees:

- no I/O before the first call of a method;
- a `write` sees all that was committed before it and runs alone (SQLite: BEGIN IMMEDIATE; elsewhere
  a row that writers lock first), is committed as a whole or not at all, and is on disk when it
  returns (SQLite: WAL, synchronous=FULL);
- a `read` sees one state of the database and never waits for a writer;
- what goes wrong outside our control (disk full, read-only, corrupt, locked, no server) is a
  LedgerUnavailable that says what to do.
"""

from __future__ import annotations

import os
import sqlite3
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.util.exc import CommandError
from sqlalchemy import Connection, Engine, create_engine, event, select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError, StatementError

from ..errors import Conflict, LedgerUnavailable
from . import tables

LOCK_SECONDS = 20.0
_MIGRATIONS = Path(__file__).parent / "migrations"
# alembic keeps the running migration in module globals
_migration_lock = threading.Lock()

_REMEDIES = (
    ("disk is full", "Free some space there; nothing was leased, and nothing is lost."),
    ("disk i/o", "Look at the disk (dmesg), then start the hub again."),
    ("readonly", "Make the file and its folder writable for the user that runs the hub."),
    ("read-only", "Make the file and its folder writable for the user that runs the hub."),
    ("unable to open", "The folder must exist and be writable for the user that runs the hub."),
    ("not a database", "Restore it from a backup, or move it away to begin with an empty one."),
    ("malformed", "Restore it from a backup, or move it away to begin with an empty one."),
    ("locked", "Another program keeps it locked; find it with `fuser` and stop it."),
    ("no such table", "Its tables are missing: call migrate() first, or restore a backup."),
)


class Database:
    """The engine and its transactions. Thread-safe; several processes may open one database."""

    def __init__(self, url: str) -> None:
        """Remember `url` (any SQLAlchemy URL; SQLite needs a file). Raises ValueError."""
        self._url = make_url(url)
        self._file: Path | None = None
        self._writing = threading.Lock()
        if self._url.get_backend_name() == "sqlite":
            name = self._url.database
            if not name or name == ":memory:":
                raise ValueError(
                    "The ledger cannot live in memory: leases must survive a restart. "
                    "Give a file, as in sqlite:////srv/gpucamp/ledger.sqlite"
                )
            self._file = Path(name)
        self.engine = self._make_engine()

    def _make_engine(self) -> Engine:
        if self._file is None:
            return create_engine(self._url, pool_pre_ping=True)
        engine = create_engine(self._url, creator=self._open_file, pool_timeout=LOCK_SECONDS)
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine

    def _open_file(self) -> sqlite3.Connection:
        # mode=rw: a ledger that has vanished is an error, never an empty one that leases anew
        assert self._file is not None  # noqa: S101  (only called for SQLite)
        return sqlite3.connect(
            f"{self._file.absolute().as_uri()}?mode=rw",
            uri=True,
            timeout=LOCK_SECONDS,
            check_same_thread=False,
            isolation_level=None,  # _begin_sqlite opens transactions, not the driver
        )

    def close(self) -> None:
        """Close all connections; the next call opens new ones."""
        self.engine.dispose()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that only reads. Raises LedgerUnavailable."""
        with self._translated(), self.engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that may write and runs alone. Raises LedgerUnavailable, Conflict."""
        with self._alone() as connection:
            connection.execute(
                select(tables.fact.c.name).where(tables.fact.c.name == "lock").with_for_update()
            )
            yield connection

    @contextmanager
    def _alone(self) -> Iterator[Connection]:
        # Within a process waiting for a lock is fair and costs nothing; SQLite's is polling.
        if not self._writing.acquire(timeout=LOCK_SECONDS):
            raise LedgerUnavailable(
                f"The ledger {self.place} was busy for {LOCK_SECONDS:.0f} s. Try again; if it "
                "stays so, look whether its disk answers."
            )
        try:
            with (
                self._translated(),
                self.engine.connect().execution_options(gpucamp_write=True) as connection,
                connection.begin(),
            ):
                yield connection
        finally:
            self._writing.release()

    def migrate(self) -> None:
        """Bring the tables to this version from any earlier one. Raises LedgerUnavailable."""
        self._make_file()
        config = Config()
        config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
        try:
            with _migration_lock, self._alone() as connection:
                config.attributes["connection"] = connection
                command.upgrade(config, "head")
        except CommandError as error:
            raise LedgerUnavailable(
                f"The ledger {self.place} was written by another version of gpucamp ({error}). "
                "Install the newest gpucamp, or restore the backup made before its update."
            ) from error

    def _make_file(self) -> None:
        """Only its owner may read the ledger; SQLite gives -wal and -shm the same mode."""
        if self._file is None:
            return
        try:
            self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            if stat.S_IMODE(self._file.stat().st_mode) != 0o600:
                self._file.chmod(0o600)
        except OSError as error:
            raise LedgerUnavailable(
                f"The ledger {self.place} cannot be opened: {error.strerror}. Its folder must "
                "exist and be writable for the user that runs the hub."
            ) from error

    @property
    def place(self) -> str:
        """Where the ledger is, for messages; without a password."""
        return str(self._file or self._url.render_as_string(hide_password=True))

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except IntegrityError as error:
            raise Conflict(
                f"The ledger refused a change that contradicts what it holds: {error.orig}"
            ) from error
        except (DBAPIError, sqlite3.Error, OSError) as error:
            cause = str(getattr(error, "orig", None) or error)
            raise LedgerUnavailable(self._message(cause)) from error
        except SQLAlchemyError as error:
            if isinstance(error, StatementError) and isinstance(error.orig, ValueError):
                raise error.orig from error  # a value of the caller's, such as a naive time
            raise LedgerUnavailable(self._message(str(error))) from error

    def _message(self, cause: str) -> str:
        remedy = next(
            (remedy for sign, remedy in _REMEDIES if sign in cause.lower()),
            "Check that the database answers, then try again.",
        )
        return f"The ledger {self.place} cannot be used: {cause}. {remedy}"


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    connection.execute("PRAGMA foreign_keys=ON")
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")


def _begin_sqlite(connection: Connection) -> None:
    write = connection.get_execution_options().get("gpucamp_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")
