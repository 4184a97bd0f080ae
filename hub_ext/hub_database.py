"""How the hub reaches its own database without keeping everybody waiting.

JupyterHub works with its database on the event loop, with a dozen transactions for each start.
In SQLite's usual mode every one of them waits for the disk, and locks files for every look.

What this module guarantees: a hub that is killed loses nothing. A host that loses its power may
lose the last moments (not the file): tokens of servers that are gone as well.
"""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Mapping
from typing import Any

# Seconds that a thread may go on while the event loop waits for the interpreter. SQLite gives it up
# at each call, so that a start would wait a dozen times for Python's usual 5 ms beside a thread
# that computes.
SWITCH_INTERVAL = 0.0005


class WriteAheadConnection(sqlite3.Connection):
    """Writes ahead, without waiting for the disk; see https://www.sqlite.org/wal.html."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.execute("PRAGMA journal_mode = WAL")
        self.execute("PRAGMA synchronous = NORMAL")


def share_the_interpreter() -> None:
    """Of this process: let the event loop have the interpreter soon when it asks for it."""
    sys.setswitchinterval(SWITCH_INTERVAL)


def kwargs_for(db_url: str | None, db_kwargs: Mapping[str, Any] | None) -> dict[str, Any]:
    """`JupyterHub.db_kwargs` for a database; what is set already stays. None: JupyterHub's own."""
    given = dict(db_kwargs or {})
    if db_url is not None and "://" in db_url and not db_url.startswith("sqlite"):
        return given
    connect = {
        "check_same_thread": False,  # as JupyterHub has it
        "factory": WriteAheadConnection,
        **given.get("connect_args", {}),
    }
    return {**given, "connect_args": connect}
