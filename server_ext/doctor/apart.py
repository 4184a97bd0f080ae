"""A folder for temporary files of what is only tried: some packages leave theirs behind.

Guarantees: a TMPDIR that is set stays as it is; where no folder can be made, nothing changes.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager


@contextmanager
def temporary_files_apart(env: Mapping[str, str]) -> Iterator[Mapping[str, str]]:
    """The environment with a folder of its own, which is deleted afterwards with all in it."""
    if "TMPDIR" in env:
        yield env
        return
    try:
        folder = tempfile.mkdtemp(prefix="gpucamp-doctor-")
    except OSError:
        yield env
        return
    try:
        yield {**env, "TMPDIR": folder}
    finally:
        shutil.rmtree(folder, ignore_errors=True)
