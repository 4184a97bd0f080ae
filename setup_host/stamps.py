"""Whether a step's inputs are still those of its last success.

Guarantees: a digest depends on names and contents only, never on times, order or mode; a stamp is
written atomically and only by a step that succeeded; an unreadable stamp counts as missing.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path


def files_below(folder: Path, leave_out: Iterable[str] = ()) -> list[Path]:
    """All files in a folder, sorted; folders and files named in `leave_out` are not entered."""
    skipped = {"__pycache__", *leave_out}
    found: list[Path] = []
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name not in skipped]
        found += [
            Path(parent, name)
            for name in names
            if name not in skipped and not name.endswith((".pyc", ".tsbuildinfo"))
        ]
    return sorted(found)


def digest(root: Path, files: Iterable[Path], *facts: str) -> str:
    """SHA-256 (hex) over files (path relative to root, content) and further facts.

    A missing file is part of the digest as missing.
    """
    total = hashlib.sha256()
    for file in sorted(set(files)):
        name = os.path.relpath(file, root)
        try:
            content = hashlib.sha256(file.read_bytes()).hexdigest()
        except (FileNotFoundError, IsADirectoryError):
            content = "missing"
        total.update(f"{len(name)}:{name}={content}\n".encode())
    for fact in facts:
        total.update(f"fact {len(fact)}:{fact}\n".encode())
    return total.hexdigest()


def read(stamp: Path) -> str:
    """The digest in a stamp, or an empty text."""
    try:
        return stamp.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def write(stamp: Path, value: str) -> None:
    """Record a success; replaces the stamp in one step."""
    stamp.parent.mkdir(parents=True, exist_ok=True)
    new = stamp.with_name(f"{stamp.name}.{os.getpid()}.new")
    new.write_text(value + "\n", encoding="ascii")
    new.replace(stamp)


def forget(stamp: Path) -> None:
    """Before a step changes what the stamp vouches for."""
    stamp.unlink(missing_ok=True)
