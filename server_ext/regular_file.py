"""Reads a file that anybody may have put there. Blocking.

Guarantees: neither a pipe, a device nor a file without end keeps the reader waiting; no more than
asked for is read.
"""

from __future__ import annotations

import errno
import io
import os
import stat


def opened(path: str | os.PathLike[str]) -> io.FileIO:
    """A regular file (links are followed), to read from, unbuffered. Raises OSError."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except ValueError as error:  # a null byte
        raise OSError(errno.EINVAL, "not a path") from error
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "not a regular file")
        return io.FileIO(descriptor)
    except BaseException:
        os.close(descriptor)
        raise


def read(path: str | os.PathLike[str], maximum: int) -> bytes | None:
    """A whole regular file; None: there is none, it cannot be read, or it is longer than `maximum`
    bytes. Never raises.
    """
    try:
        with io.BufferedReader(opened(path)) as file:
            data = file.read(maximum + 1)
    except OSError:
        return None
    return data if len(data) <= maximum else None
