"""Renames by the kernel's renameat2(2). Blocking. Raises OSError."""

from __future__ import annotations

import ctypes
import errno
import os
from pathlib import Path

_HERE = -100  # AT_FDCWD
_NO_REPLACE, _EXCHANGE = 1, 2
_UNKNOWN = (errno.EINVAL, errno.ENOSYS)  # a file system, or a kernel, that cannot do it


def without_replacing(old: Path, new: Path) -> None:
    """Raises FileExistsError where `new` exists, and leaves it alone."""
    try:
        _renameat2(old, new, _NO_REPLACE)
    except OSError as error:
        if error.errno not in _UNKNOWN:
            raise
        if os.path.lexists(new):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(new)) from None
        os.rename(old, new)


def exchange(one: Path, other: Path) -> bool:
    """Both change places at once; False: this file system cannot do it, and nothing was done."""
    try:
        _renameat2(one, other, _EXCHANGE)
    except OSError as error:
        if error.errno in _UNKNOWN:
            return False
        raise
    return True


def _renameat2(old: Path, new: Path, how: int) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    names = (os.fsencode(old), os.fsencode(new))
    if library.renameat2(_HERE, names[0], _HERE, names[1], ctypes.c_uint(how)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(old), None, str(new))
