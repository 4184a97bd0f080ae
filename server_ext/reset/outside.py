"""What somebody saved in the home, but outside of the work folder: a reset takes it away. Blocking;
never raises.

Guarantees: only entries of the home itself are named, whole; not what is hidden (settings, caches,
the environment), not mounted, and not an empty folder. A budget bounds the look: a size that is
not known is None.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .. import regular_file
from .sizes import Budget, measure

MOST = 100  # entries that are named
_LISTED, _LISTING_SECONDS = 100_000, 1.0
_OF_MACHINES = frozenset({"work", "lost+found", "__pycache__"})


@dataclass(frozen=True)
class Saved:
    """path: relative to the home; folder: it is one (and no link to one)."""

    path: str
    bytes: int | None
    folder: bool


def mount_points(table: str = "/proc/self/mountinfo") -> frozenset[str]:
    """Where anything is mounted, as absolute paths."""
    text = (regular_file.read(table, 2**22) or b"").decode("utf-8", "surrogateescape")
    fields = [line.split(" ") for line in text.split("\n")]
    return frozenset(_plain(field[4]) for field in fields if len(field) > 4)


def _plain(escaped: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), escaped)


def is_own(name: str, home: Path, mounts: frozenset[str]) -> bool:
    """Whether an entry of the home is somebody's own, by its name."""
    return (
        name != ""
        and not (name.startswith(".") or name in _OF_MACHINES or "/" in name or "\0" in name)
        and not any(f"{mount}/".startswith(f"{home}/{name}/") for mount in mounts)
    )


def look(home: Path, budget: Budget, mounts: frozenset[str]) -> dict[str, Any]:
    """{files, bytes, more}: as the REST interface tells it."""
    names, whole = _own_names(home, mounts)
    found: list[Saved] = []
    more = 0
    for name in names:
        if len(found) >= MOST:
            more += 1
            continue
        path = os.path.join(home, name)
        tree = measure(path, budget)
        folder = os.path.isdir(path) and not os.path.islink(path)
        if not (folder and tree is not None and tree.files == 0):
            found.append(Saved(name, None if tree is None else tree.bytes, folder))
    known = whole and not more
    return {
        "files": [asdict(saved) for saved in found],
        "bytes": total(saved.bytes for saved in found) if known else None,
        "more": more,
    }


def total(sizes: Iterable[int | None]) -> int | None:
    """The sum; None where one is not known."""
    known = list(sizes)
    return None if None in known else sum(size for size in known if size is not None)


def _own_names(home: Path, mounts: frozenset[str]) -> tuple[list[str], bool]:
    """In order, and whether they are all."""
    listing = Budget(_LISTED, _LISTING_SECONDS)
    names: list[str] = []
    try:
        with os.scandir(home) as entries:
            for entry in entries:
                if not listing.spend():
                    return sorted(names), False
                if is_own(entry.name, home, mounts):
                    names.append(entry.name)
    except OSError:
        return sorted(names), False
    return sorted(names), True
