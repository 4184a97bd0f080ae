"""JSON on disk.

Guarantees: a reader sees the old file or the new one, never half of one; the new one is on disk
before it takes the place of the old; only its owner may read it. Any text can be written, also one
that is not valid Unicode (names of files need not be).
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any


def write(path: Path, value: Any, *, indent: int | None = 1) -> None:
    """Write `value` to `path`, whose folder exists. Blocking. Raises OSError.

    indent: None for a file that people do not read: smaller, and written faster.
    """
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(json.dumps(value, ensure_ascii=True, indent=indent))
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
