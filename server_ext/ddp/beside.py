"""Writes a script that was made of a file beside that file.

Guarantees: what a person wrote or changed is never written over: ours ends with a mark that has the
digest of what precedes it, and one whose digest is another gets a neighbour (`train_2.py`); a
script is there whole or not at all.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import stat
import tempfile
from pathlib import Path

from ..errors import Conflict
from ..i18n import N_

NEIGHBOURS = 99
_MARK = re.compile(rb"# made by gpucamp, sha256 ([0-9a-f]{64})\n$")


def write_beside(original: Path, stem: str, text: str) -> tuple[Path, bool]:
    """Where the script is (`<stem>.py`, or a neighbour), and whether it was written just now.

    text: ends with a newline. Raises Conflict. Blocking I/O.
    """
    data = text.encode()
    digest = hashlib.sha256(data).hexdigest()
    try:
        return _write(
            original.parent, stem, data + f"# made by gpucamp, sha256 {digest}\n".encode()
        )
    except OSError as error:
        raise Conflict(
            N_("The script cannot be written beside {name}: {reason}."),
            name=original.name,
            reason=error.strerror or str(error),
        ) from error


def _write(folder: Path, stem: str, data: bytes) -> tuple[Path, bool]:
    for number in range(1, NEIGHBOURS + 1):
        target = folder / (f"{stem}.py" if number == 1 else f"{stem}_{number}.py")
        there = _ours(target)
        if there == data:
            return target, False
        if there is not None or not os.path.lexists(target):
            _replace(target, data)
            return target, True
    raise FileExistsError(errno.EEXIST, f"there are {NEIGHBOURS} scripts of this name")


def _ours(target: Path) -> bytes | None:
    """What is in a script of ours that nobody has changed; None for any other, or none."""
    try:
        if not stat.S_ISREG(target.lstat().st_mode):
            return None
        data = target.read_bytes()
    except OSError:
        return None
    mark = _MARK.search(data[-200:])
    if mark is None:
        return None
    digest = hashlib.sha256(data[: len(data) - len(mark[0])]).hexdigest().encode()
    return data if digest == mark[1] else None


def _replace(target: Path, data: bytes) -> None:
    handle, name = tempfile.mkstemp(prefix=f".{target.stem[:50]}-", suffix=".py", dir=target.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.chmod(name, 0o644)  # noqa: S103 - as any script that a person makes
        os.replace(name, target)
    except BaseException:
        os.unlink(name)
        raise
