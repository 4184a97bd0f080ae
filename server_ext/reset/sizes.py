"""How large folders are. Blocking; never raises.

Guarantees: a budget bounds the entries that are looked at and the seconds; links are not followed,
so no loop is walked; what is not known whole is None, never a part of it.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, field


@dataclass
class Budget:
    """What is left of it. seconds: from its making."""

    entries: int
    seconds: float
    _end: float = field(init=False)

    def __post_init__(self) -> None:
        self._end = time.monotonic() + self.seconds

    def spend(self) -> bool:
        """Takes one entry; False: nothing is left."""
        self.entries -= 1
        return self.entries >= 0 and time.monotonic() < self._end


@dataclass(frozen=True)
class Tree:
    """Of a file, or a folder with all in it. bytes: the lengths of files; allocated: bytes on the
    disk; files: all that is no folder.
    """

    bytes: int = 0
    allocated: int = 0
    files: int = 0


def measure(path: str, budget: Budget, without: Collection[str] = ()) -> Tree | None:
    """None: the budget did not suffice, or a part cannot be read. without: paths of folders that
    are left out.
    """
    length = allocated = files = 0
    seen: set[tuple[int, int]] = set()
    folders: list[str] = []

    def count(facts: os.stat_result) -> None:
        nonlocal length, allocated, files
        if facts.st_nlink > 1 and not stat.S_ISDIR(facts.st_mode):
            if (facts.st_dev, facts.st_ino) in seen:
                return
            seen.add((facts.st_dev, facts.st_ino))
        allocated += facts.st_blocks * 512
        if not stat.S_ISDIR(facts.st_mode):
            length += facts.st_size
            files += 1

    try:
        first = os.lstat(path)
    except (OSError, ValueError):
        return None
    count(first)
    if stat.S_ISDIR(first.st_mode):
        folders.append(path)
    while folders:
        try:
            with os.scandir(folders.pop()) as entries:
                for entry in entries:
                    if not budget.spend():
                        return None
                    if entry.path in without:
                        continue
                    with suppress(FileNotFoundError):  # it went meanwhile
                        count(entry.stat(follow_symlinks=False))
                        if entry.is_dir(follow_symlinks=False):
                            folders.append(entry.path)
        except FileNotFoundError:
            continue
        except OSError:
            return None
    return Tree(length, allocated, files)
