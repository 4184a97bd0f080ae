"""One set-up at a time for a state folder.

Guarantees: the lock dies with its holder (flock), so there is no stale one; the second comer is
told who holds it and waits; children do not inherit it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from .progress import Progress


def lock_path(tools: Path) -> Path:
    """The lock of a tools folder: beside it, because `clean` removes the folder."""
    return tools.with_name(tools.name + ".lock")


@contextlib.contextmanager
def only_one(path: Path, progress: Progress, look_seconds: float = 0.5) -> Iterator[None]:
    """Hold the lock; waits (until Ctrl-C) while another process holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="ascii") as file:
        told = False
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not told:
                    file.seek(0)
                    holder = file.read().strip() or "unknown"
                    progress.say(f"* another set-up (process {holder}) is at work; waiting for it")
                    told = True
                time.sleep(look_seconds)
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield
