"""Reads a file that anybody may have put there. Blocking; never raises.

Guarantees: neither a pipe, a device nor a file without end keeps the reader waiting; no more than
asked for is read.
"""

from __future__ import annotations

import os
import stat


def read(path: str | os.PathLike[str], maximum: int) -> bytes | None:
    """A whole regular file (links are followed); None: there is none, it cannot be read, or it is
    longer than `maximum` bytes.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError):
        return None
    try:
        with open(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                return None
            data = file.read(maximum + 1)
    except OSError:
        return None
    return data if len(data) <= maximum else None
