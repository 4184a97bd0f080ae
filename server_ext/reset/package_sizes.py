"""How much a package takes, by its RECORD. Blocking; never raises.

Guarantees: a budget bounds it; a RECORD that is missing, wrecked or names what is not there gives
what its folders hold, or None; nothing outside of the package's own folder is looked at.
"""

from __future__ import annotations

import csv
import os

from .. import regular_file
from .environment_lock import normalised
from .sizes import Budget, measure

_LONGEST_RECORD = 2**24
_LARGEST_FILE = 2**50


def package_bytes(folder: str, info: str, budget: Budget) -> int | None:
    """Of the package whose metadata is in folder/info (NAME-VERSION.dist-info). None: not known."""
    record = regular_file.read(os.path.join(folder, info, "RECORD"), _LONGEST_RECORD)
    if record is None:
        return _of_folders(folder, info, budget)
    total = 0
    try:
        for row in csv.reader(record.decode("utf-8", "replace").splitlines()):
            if not budget.spend():
                return None
            total += _of_row(folder, row)
    except (csv.Error, ValueError):
        return None
    return total


def _of_row(folder: str, row: list[str]) -> int:
    if len(row) >= 3 and row[2].isascii() and row[2].isdigit() and len(row[2]) < 16:
        return min(int(row[2]), _LARGEST_FILE)
    path = os.path.normpath(os.path.join(folder, row[0])) if row and row[0] else ""
    if not path.startswith(folder + os.sep):
        return 0  # a script in bin: too small to tell
    try:
        return os.lstat(path).st_size  # byte code, which RECORD gives no size
    except (OSError, ValueError):
        return 0


def _of_folders(folder: str, info: str, budget: Budget) -> int | None:
    """By what the package brings at the top, or the folder of its name."""
    named = regular_file.read(os.path.join(folder, info, "top_level.txt"), 2**16) or b""
    names = {name for name in named.decode("utf-8", "replace").split() if "/" not in name}
    names = names or {normalised(info.split("-")[0]).replace("-", "_")}
    found = [os.path.join(folder, name) for name in sorted(names)]
    trees = [measure(path, budget) for path in found if os.path.isdir(path)]
    if not trees:
        return None
    sizes = [tree.bytes for tree in trees if tree is not None]
    return sum(sizes) if len(sizes) == len(trees) else None
