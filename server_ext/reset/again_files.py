"""Where "install again" is written down: in the work folder, which outlives the reset.

`.gpucamp/install-again.lock` says what to install (a lock as `gpucamp-env freeze` writes it, and
the generation that it was chosen in); `.gpucamp/install-again.json` says how far that is. A named
server has files of its own, since all servers of a user share the work folder.

Guarantees: each file is written whole or not at all, and is on disk before anything goes on.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import json_file, regular_file
from ..errors import BadRequest, Conflict
from ..i18n import N_
from .environment_lock import MAXIMUM_BYTES, Lock, Locked, parse, render
from .server_files import mark

_GENERATION = re.compile(r"^# generation: ([0-9]{1,9})$", re.MULTILINE)
# a wish that is done is not taken for one that is being written
_CHANGES = threading.Lock()


@dataclass(frozen=True)
class Wish:
    """What to install again. identity: another one for each wish; generation: that it was chosen
    in, None where that is not known; age: seconds since; fault: why there is nothing to install.
    """

    packages: tuple[Locked, ...]
    identity: str
    generation: int | None
    age: float
    fault: BadRequest | None = None


@dataclass(frozen=True)
class AgainFiles:
    """Of one server. Blocking."""

    folder: Path
    server: str

    @property
    def lock(self) -> Path:
        """What to install."""
        return self.folder / f"install-again{mark(self.server)}.lock"

    @property
    def report(self) -> Path:
        """How far it is."""
        return self.folder / f"install-again{mark(self.server)}.json"

    @property
    def running(self) -> Path:
        """Locked by the one process that installs."""
        return self.folder / f"install-again{mark(self.server)}.running"

    def wish(self) -> Wish | None:
        """What is to be installed; None: nothing is."""
        written = regular_file.read(self.lock, MAXIMUM_BYTES)
        if written is None:
            return None
        identity = hashlib.sha256(written).hexdigest()
        text = written.decode("utf-8", "replace")
        found = _GENERATION.search(text)
        generation = int(found[1]) if found else None
        try:
            age = time.time() - self.lock.stat().st_mtime
        except OSError:
            return None  # it was taken away just now
        try:
            return Wish(parse(text).packages, identity, generation, age)
        except BadRequest as error:
            return Wish((), identity, generation, age, error)

    def put(self, packages: Sequence[Locked], image: str, generation: int | None) -> bytes | None:
        """Writes a wish, or takes it away where there are no packages. What was written before,
        for `put_back`. Raises Conflict.
        """
        before = regular_file.read(self.lock, MAXIMUM_BYTES)
        if not packages:
            with suppress(Conflict):  # a reset with which nothing is installed needs no room
                if before is not None:
                    self.put_back(None)
            return before
        text = render(Lock(tuple(packages), image))
        if generation is not None:
            text += f"# generation: {generation}\n"
        text += f"# number: {os.urandom(8).hex()}\n"
        self.put_back(text.encode())
        return before

    def put_back(self, written: bytes | None) -> None:
        """Makes the lock what it was. Raises Conflict."""
        try:
            with _CHANGES:
                self._put_back(written)
        except OSError as error:
            raise Conflict(
                N_(
                    "What to install again cannot be written down in {path}: {reason}. Nothing was "
                    "begun; make room in your work folder, or choose nothing to install again."
                ),
                path=str(self.lock),
                reason=error.strerror,
            ) from error

    def _put_back(self, written: bytes | None) -> None:
        if written is None:
            self.lock.unlink(missing_ok=True)
        else:
            self.folder.mkdir(parents=True, exist_ok=True)
            _write(self.lock, written)

    def read_report(self) -> dict[str, Any] | None:
        """As `write_report` wrote it; None: there is none, or it cannot be read."""
        try:
            value = json.loads(regular_file.read(self.report, 2**22) or b"")
        except (ValueError, RecursionError):
            return None
        return value if isinstance(value, dict) else None

    def write_report(self, value: dict[str, Any]) -> None:
        """Raises OSError."""
        json_file.write(self.report, value)

    def finish(self, identity: str) -> None:
        """Takes a wish away, if it is still this one. Raises OSError."""
        with _CHANGES:
            wish = self.wish()
            if wish is not None and wish.identity == identity:
                self.lock.unlink(missing_ok=True)

    def forget(self) -> None:
        """Takes the wish and its report away. Raises OSError."""
        with _CHANGES:
            self.lock.unlink(missing_ok=True)
            self.report.unlink(missing_ok=True)


def _write(path: Path, data: bytes) -> None:
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
