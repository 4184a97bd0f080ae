"""Moves what somebody saved in the home to `work/from-home`, which a reset leaves alone. Blocking.

Guarantees:
- Nothing is ever written over: what has the same name gets a number.
- The original goes only when its copy is whole, on disk and at its place. Killed at any point, the
  original is whole, or the copy is, or both; a part of a copy is hidden, and cleared away by the
  next move or start of a server.
- What is written to meanwhile stays where it is.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import Conflict, NotFound
from ..i18n import N_
from . import folders, rename, tree_copy
from .outside import is_own, mount_points
from .sizes import Budget, measure
from .writers import is_written

TARGET = "from-home"
_SPARE_BYTES = 2**24  # left free, so that notebooks can still be saved

_IS_WRITTEN = N_("A program writes to it: end the program, then try again. Nothing was moved.")


class _Stopped(Exception):
    """The server ends, and the copy is not whole."""


@dataclass
class MoveProgress:
    """What is moved now: path, the entry of the home ("" where nothing is); copied, bytes; total,
    bytes on the disk, None where it could not be measured. Written by the thread that moves.
    """

    path: str = ""
    copied: int = 0
    total: int | None = None


@dataclass(frozen=True)
class Mover:
    """Of one server. stopped: whether the server ends."""

    home: Path
    work: Path
    stopped: Callable[[], bool]
    progress: MoveProgress = field(default_factory=MoveProgress)

    def move(self, name: str) -> str:
        """Moves an entry of the home; where it is now, relative to the work folder. Raises
        GpucampServerError.
        """
        source = self.home / name
        if not is_own(name, self.home, mount_points()) or not os.path.lexists(source):
            raise NotFound(N_("There is no such file or folder of yours in your home."))
        self.progress.path, self.progress.copied, self.progress.total = name, 0, None
        try:
            self._must_be_at_rest(source)
            target = self._target()
            with suppress(OSError):  # on one file system it is a matter of a moment
                return self._place(source, target)
            return self._copied(source, target)
        except _Stopped:
            raise Conflict(N_("The server ended meanwhile: it is where it was.")) from None
        except OSError as error:
            raise Conflict(
                N_("It could not be moved, and is where it was: {reason}."),
                reason=error.strerror or str(error),
            ) from error
        finally:
            self.progress.path = ""

    def clear(self) -> None:
        """Takes away what moves that were killed left. Never raises."""
        folders.clear(self._hidden)

    @property
    def _hidden(self) -> Path:
        return self.work / ".gpucamp" / "moving"

    def _target(self) -> Path:
        target = self.work / TARGET
        with suppress(FileExistsError):
            target.mkdir()
        if target.is_symlink() or not target.is_dir():
            raise Conflict(
                N_("{name} in your work folder is no folder: give it another name."), name=TARGET
            )
        return target

    def _copied(self, source: Path, target: Path) -> str:
        self._must_fit(source)
        with folders.hidden_folder(self._hidden) as hidden:
            copy = hidden / "copy"
            marks = tree_copy.copy(str(source), str(copy), self._told)
            folders.to_disk(hidden)
            self._must_be_at_rest(source)
            if not tree_copy.unchanged(marks):
                raise Conflict(_IS_WRITTEN)
            to = self._place(copy, target, source.name)
            folders.to_disk(target)
        if not tree_copy.take_away(marks):
            raise Conflict(
                N_(
                    "It was copied to {to}, but a part of it was changed meanwhile or cannot be "
                    "deleted, and is still in your home, too."
                ),
                to=to,
            )
        return to

    def _told(self, copied: int) -> None:
        """Counts what was copied. Raises _Stopped when the server ends."""
        if self.stopped():
            raise _Stopped
        self.progress.copied += copied

    def _must_be_at_rest(self, source: Path) -> None:
        """Raises Conflict where a program would go on with a file that is gone."""
        if is_written(os.fspath(source)):
            raise Conflict(_IS_WRITTEN)

    def _must_fit(self, source: Path) -> None:
        """Raises Conflict where it is known that there is too little room."""
        tree = measure(str(source), Budget(300_000, 5.0))
        self.progress.total = tree.allocated if tree is not None else None
        free = shutil.disk_usage(self.work).free
        if tree is not None and tree.allocated + _SPARE_BYTES > free:
            raise Conflict(
                N_(
                    "There is too little room in your work folder: {needed} MB are needed, {free} "
                    "MB are free."
                ),
                needed=-(-tree.allocated // 10**6),
                free=free // 10**6,
            )

    def _place(self, source: Path, target: Path, name: str = "") -> str:
        """Gives it a name in the target that nothing has; that, relative to the work folder."""
        stem, dot, ending = (name or source.name).rpartition(".")
        if not stem or source.is_dir():
            stem, dot, ending = name or source.name, "", ""
        for number in range(1, 10_000):
            free = f"{stem}{f'-{number}' if number > 1 else ''}{dot}{ending}"
            try:
                rename.without_replacing(source, target / free)
            except FileExistsError:
                continue
            return f"{TARGET}/{free}"
        raise OSError(errno.EEXIST, os.strerror(errno.EEXIST))
