"""Whether a program has files open for writing. Blocking; never raises.

Guarantee: programs of others, and of which nothing can be seen, do not count.
"""

from __future__ import annotations

import os
from contextlib import suppress

_WRITES = os.O_WRONLY | os.O_RDWR


def is_written(path: str, processes: str = "/proc") -> bool:
    """Whether any of this user's programs writes to a file, or to one in a folder. path: without
    links.
    """
    with suppress(OSError):
        return any(
            _writes(f"{processes}/{pid}", path) for pid in os.listdir(processes) if pid.isdigit()
        )
    return False


def _writes(process: str, path: str) -> bool:
    with suppress(OSError):
        for descriptor in os.listdir(f"{process}/fd"):
            with suppress(OSError, ValueError, IndexError):
                target = os.readlink(f"{process}/fd/{descriptor}")
                if target != path and not target.startswith(f"{path}/"):
                    continue
                with open(f"{process}/fdinfo/{descriptor}", "rb") as file:
                    flags = file.read(4096).split(b"flags:")[1].split()[0]
                if int(flags, 8) & _WRITES:
                    return True
    return False
