"""Folders that are worked on out of sight. Blocking.

Guarantee: what a process that was killed left is told from what a living one works on.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Marks a folder as one that a living process works on. Raises BlockingIOError where another
    does.
    """
    descriptor = os.open(folder, _FOLDER | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def hidden_folder(parent: Path) -> Iterator[Path]:
    """A new folder below `parent`, which goes with all that is in it. Raises OSError."""
    parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=parent))
    with held(folder):
        try:
            yield folder
        finally:
            remove(folder)


def clear(parent: Path) -> None:
    """Takes away what processes that were killed left of `hidden_folder`. Never raises."""
    with suppress(OSError):
        for folder in parent.iterdir():
            with suppress(OSError), held(folder):
                remove(folder)


def remove(folder: Path) -> None:
    """A folder with all in it, whatever the modes; never raises."""
    for path, folders, _ in os.walk(folder):
        for name in folders:
            inner = os.path.join(path, name)
            with suppress(OSError):
                if not os.path.islink(inner):
                    os.chmod(inner, 0o700)
    shutil.rmtree(folder, ignore_errors=True)


def to_disk(folder: Path) -> None:
    """All of the file system that the folder is on. Raises OSError."""
    descriptor = os.open(folder, _FOLDER)
    try:
        if ctypes.CDLL(None, use_errno=True).syncfs(descriptor) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
    finally:
        os.close(descriptor)
