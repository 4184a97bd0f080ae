"""A number beside a SQLite ledger, so that one which lost its latest changes is noticed.

SQLite keeps what was written last in a file of its own (-wal). If somebody deletes it after an
unclean end, or puts an older copy in the ledger's place, the rest is a ledger without a flaw, in
which leases that exist are missing.

What this module guarantees: the number is that of a line of the audit trail that was committed, so
a ledger that is behind it has lost something. Where it cannot be written or read, nothing is said.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from sqlalchemy import Connection

from ..errors import LedgerUnavailable

SUFFIX = "-mark"


class Mark:
    """The number beside one ledger."""

    def __init__(self, ledger: Path) -> None:
        self._file = ledger.with_name(ledger.name + SUFFIX)

    def set(self, number: int) -> None:
        """Write down what was committed."""
        with contextlib.suppress(OSError):
            file = os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.pwrite(file, b"%020d\n" % number, 0)
            finally:
                os.close(file)

    def forget(self) -> None:
        """The ledger begins anew."""
        with contextlib.suppress(OSError):
            self._file.unlink(missing_ok=True)

    def require(self, connection: Connection, place: str) -> None:
        """Raise LedgerUnavailable if this ledger is behind; in a transaction that runs alone."""
        try:
            number = int(self._file.read_bytes())
        except (OSError, ValueError):
            return
        if latest(connection) < number:
            raise LedgerUnavailable(
                f"The ledger {place} has lost its latest changes, so leases may be missing in it: "
                "its -wal file was deleted, or it is an older copy. Put its latest copy back, with "
                "that file. To go on with it as it is, stop all servers of this hub, then delete "
                f"{self._file}."
            )


def latest(connection: Connection) -> int:
    """The highest number that a line of the audit trail ever had, deleted ones too."""
    table = "SELECT count(*) FROM sqlite_master WHERE name = 'sqlite_sequence'"
    if not connection.exec_driver_sql(table).scalar():
        return 0  # no tables yet
    query = "SELECT seq FROM sqlite_sequence WHERE name = 'audit_entry'"
    return int(connection.exec_driver_sql(query).scalar() or 0)
