"""Opens the ledger's database, one transaction at a time.

Guarantees:

- no I/O before the first call of a method;
- a `write` sees all that was committed before it and runs alone (SQLite: BEGIN IMMEDIATE;
  PostgreSQL: a row that writers lock first), is committed as a whole or not at all, and is on disk
  when it returns (SQLite: WAL, synchronous=FULL);
- a `read` sees one state of the database and never waits for a writer; each table has a version
  there (facts.py), which each write that changed something in it makes anew;
- a PostgreSQL server that is away for a few seconds is waited for, at the beginning of a
  transaction only: what was begun is never done twice. If it is lost while it commits, it is asked
  afterwards whether it did;
- a SQLite ledger that lost its latest changes is refused (mark.py);
- what goes wrong outside our control (disk full, read-only, corrupt, locked, no server) is a
  LedgerUnavailable that says what to do, and no password.
"""

from __future__ import annotations

import os
import re
import sqlite3
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from alembic import command
from alembic.config import Config
from alembic.util.exc import CommandError
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError, StatementError

from ..errors import Conflict, LedgerUnavailable
from . import facts, postgres, remedies
from .mark import Mark, latest

LOCK_SECONDS = 20.0
CREATION_SECONDS = 5.0
PAGE_BYTES = 4096  # SQLite's default
PATIENCE_SECONDS = 5.0  # for a PostgreSQL server that restarts
OUTCOME_SECONDS = 15.0  # for one that was lost while it committed
_MIGRATIONS = Path(__file__).parent / "migrations"
_CHANGE = re.compile(
    r"\s*(?:INSERT\s+INTO|UPDATE|DELETE\s+FROM)\s+(?P<table>\w+)|\s*(?:INSERT|UPDATE|DELETE)",
    re.IGNORECASE,
)
# alembic keeps the running migration in module globals
_migration_lock = threading.Lock()

T = TypeVar("T")


class Database:
    """The engine and its transactions. Thread-safe; several processes may open one database."""

    def __init__(self, url: str) -> None:
        """Remember `url` (SQLAlchemy's, of SQLite in a file or of PostgreSQL). ValueError."""
        self._url = remedies.parse(url)
        self._writing = threading.Lock()
        self._file: Path | None = None
        self._away_since: float | None = None
        if self._url.get_backend_name() == "sqlite":
            self._file = Path(str(self._url.database))
        self._mark = Mark(self._file) if self._file else None
        self.engine = self._make_engine()
        event.listen(self.engine, "before_cursor_execute", _note_change)

    def _make_engine(self) -> Engine:
        if self._file is None:
            return postgres.make_engine(self._url, LOCK_SECONDS)
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
        options: dict[str, Any] = {} if self._file else postgres.READS
        with self._translated():
            connection, _nothing = self._begin(options, lambda connection: None)
            with connection:
                facts.changed_tables(connection).clear()
                yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that may write and runs alone. Raises LedgerUnavailable, Conflict."""
        with self._alone(_no_lock if self._file else postgres.lock_for_write) as connection:
            facts.changed_tables(connection).clear()
            yield connection
            number = 0
            if facts.changed_tables(connection):
                facts.new_versions(connection)
                number = latest(connection) if self._mark else 0
        if self._mark and number:
            self._mark.set(number)

    @contextmanager
    def _alone(self, lock: Callable[[Connection], str | None]) -> Iterator[Connection]:
        # Within a process waiting for a lock is fair and costs nothing; SQLite's is polling.
        if not self._writing.acquire(timeout=LOCK_SECONDS):
            raise LedgerUnavailable(
                f"The ledger {self.place} was busy for {LOCK_SECONDS:.0f} s. Try again; if it "
                "stays so, look whether its disk answers."
            )
        options: dict[str, Any] = {"gpucamp_write": True} if self._file else postgres.WRITES
        try:
            with self._translated():
                connection, transaction = self._begin(options, lock)
                with connection:
                    yield connection
                    self._commit(connection, transaction)
        finally:
            self._writing.release()

    def _begin(
        self, options: dict[str, Any], first: Callable[[Connection], T]
    ) -> tuple[Connection, T]:
        """A connection with a transaction, and what its first step gave."""
        while True:
            connection: Connection | None = None
            try:
                connection = self.engine.connect().execution_options(**options)
                connection.begin()
                result = first(connection)
            except BaseException as error:
                if connection is not None:
                    connection.close()
                if not isinstance(error, DBAPIError) or not self._may_try_again(error):
                    raise
                time.sleep(0.2)
            else:
                self._away_since = None
                return connection, result

    def _may_try_again(self, error: DBAPIError) -> bool:
        """For a few seconds since a server went away; after that calls fail at once."""
        if self._file is not None or not remedies.may_pass(str(error.orig)):
            return False
        if self._away_since is None:
            self._away_since = time.monotonic()
        return time.monotonic() - self._away_since < PATIENCE_SECONDS

    def _commit(self, connection: Connection, transaction: str | None) -> None:
        try:
            connection.commit()
        except DBAPIError as error:
            if not transaction or not error.connection_invalidated:
                raise
            if not self._was_committed(transaction):
                raise

    def _was_committed(self, transaction: str) -> bool:
        """Ask for the outcome of a commit whose answer was lost. Raises LedgerUnavailable."""
        deadline = time.monotonic() + OUTCOME_SECONDS
        while True:
            try:
                with self.engine.connect() as connection:
                    found = postgres.outcome(connection, transaction)
                if found != "in progress":
                    return found == "committed"
            except DBAPIError as error:
                if time.monotonic() > deadline:
                    raise LedgerUnavailable(
                        f"The ledger {self.place} was lost while it committed a change, and does "
                        "not say whether it did. Start the server again; what was begun is put in "
                        "order by itself."
                    ) from error
            time.sleep(0.2)

    def migrate(self) -> None:
        """Bring the tables to this version from any earlier one. Raises LedgerUnavailable."""
        self._make_file()
        config = Config()
        config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
        lock = _no_lock if self._file else _lock_for_migration
        try:
            with _migration_lock, self._alone(lock) as connection:
                if self._file is not None:
                    _require_whole(connection)
                if self._mark:
                    self._mark.require(connection, self.place)
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
            try:
                flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
                os.close(os.open(self._file, flags, 0o600))
                if self._mark:
                    self._mark.forget()
            except FileExistsError:
                os.close(os.open(self._file, os.O_RDWR | os.O_CLOEXEC))
                self._refuse_empty(self._file)
            if stat.S_IMODE(self._file.stat().st_mode) != 0o600:
                self._file.chmod(0o600)
        except OSError as error:
            raise LedgerUnavailable(
                f"The ledger {self.place} cannot be opened: {error.strerror}. Its folder must "
                "exist and be writable for the user that runs the hub."
            ) from error

    def _refuse_empty(self, file: Path) -> None:
        """A file without a whole page is a new database to SQLite; to us it lost its leases."""
        deadline = time.monotonic() + CREATION_SECONDS
        while (size := file.stat().st_size) < PAGE_BYTES:  # another process may be making it
            if time.monotonic() > deadline:
                raise LedgerUnavailable(
                    f"The ledger {self.place} is empty ({size} bytes): it was cut off, or its "
                    "making was interrupted. Restore it from a backup. To begin with an empty "
                    "one, stop all servers of this hub, then delete the file."
                )
            time.sleep(0.05)

    @property
    def place(self) -> str:
        """Where the ledger is, for messages; without a password."""
        return remedies.place(self._url)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except IntegrityError as error:
            raise Conflict(
                f"The ledger refused a change that contradicts what it holds: {error.orig}"
            ) from error
        except (DBAPIError, sqlite3.Error, OSError) as error:
            cause = getattr(error, "orig", None) or error
            raise LedgerUnavailable(self._message(cause)) from error
        except SQLAlchemyError as error:
            if isinstance(error, StatementError) and isinstance(error.orig, ValueError):
                raise error.orig from error  # a value of the caller's, such as a naive time
            raise LedgerUnavailable(self._message(error)) from error

    def _message(self, cause: BaseException) -> str:
        # psycopg's classes are named after the server's codes
        known = "" if self._file else f"{type(cause).__name__}: "
        return remedies.explain(self._url, f"{known}{cause}")


def _no_lock(_connection: Connection) -> None:
    """BEGIN IMMEDIATE is one."""


def _lock_for_migration(connection: Connection) -> None:
    postgres.lock_for_migration(connection)


def _note_change(connection: Connection, _cursor: object, statement: str, *_rest: object) -> None:
    if (found := _CHANGE.match(statement)) is not None:
        facts.changed_tables(connection).add(found["table"] or facts.ALL_TABLES)


def _require_whole(connection: Connection) -> None:
    """A file that was cut works until a page is asked for that is gone; leases may be on it."""
    found = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar()
    if found != "ok":
        raise sqlite3.DatabaseError(f"malformed: {found}")


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    connection.execute("PRAGMA foreign_keys=ON")
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")


def _begin_sqlite(connection: Connection) -> None:
    write = connection.get_execution_options().get("gpucamp_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")
