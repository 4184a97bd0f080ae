"""Removes what somebody installed, and nothing else: the environment becomes the image's. Blocking.

Guarantees: the new environment takes the place of the old at once, so that whoever is killed leaves
one of both, whole; only where the disk is full, or cannot exchange two folders, is there a moment
with none, and then the start of a server makes it. Dotfiles, caches and work are not touched.
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ..errors import Conflict
from ..i18n import N_
from . import folders, rename
from .packages import installed, site_folders

_FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True)
class Remover:
    """template: an environment without packages, as the image has it for `home`/.venv."""

    home: Path
    template: Path

    @property
    def environment(self) -> Path:
        """What kernels run from."""
        return self.home / ".venv"

    def remove(self) -> int:
        """How many packages went. Raises Conflict: then none did, or `clear` has to be called."""
        if not os.path.lexists(self.template / "bin" / "python"):
            raise Conflict(
                N_(
                    "This image has no fresh environment to give you. Reset the environment "
                    "instead."
                )
            )
        try:
            _loosen(self.home)
            for path in (self.environment, *self._users()):
                _loosen(path)
            gone = {name for folder in self._packages() for name in installed(folder)}
            self._hidden.mkdir(exist_ok=True)
            old = Path(tempfile.mkdtemp(dir=self._hidden))
            with folders.held(old):
                self._renew(old)
                for number, path in enumerate(self._users()):
                    os.rename(path, old / f"user-{number}")
        except OSError as error:
            raise Conflict(
                N_(
                    "The packages could not be removed: {reason}. Reset the environment instead: "
                    "that needs nothing of what is there."
                ),
                reason=error.strerror or str(error),
            ) from error
        return len(gone)

    def clear(self) -> None:
        """Deletes what was removed, and what a kill has left. Takes as long as that is large."""
        folders.clear(self._hidden)

    @property
    def _hidden(self) -> Path:
        return self.home / ".gpucamp-removed"

    def _users(self) -> list[Path]:
        """Where `pip install --user` puts packages."""
        return [Path(folder).parent for folder in site_folders(self.home / ".local")]

    def _packages(self) -> list[str]:
        return [*site_folders(self.environment), *site_folders(self.home / ".local")]

    def _renew(self, old: Path) -> None:
        new = old / "new"
        try:
            shutil.copytree(self.template, new, symlinks=True)
            folders.to_disk(old)
        except (OSError, shutil.Error) as error:
            if not _is_full(error):
                raise
            # nothing can be made before something is deleted
            folders.remove(new)
            if os.path.lexists(self.environment):
                os.rename(self.environment, old / "before")
            folders.remove(old / "before")
            shutil.copytree(self.template, new, symlinks=True)
        if not os.path.lexists(self.environment):
            rename.without_replacing(new, self.environment)
        elif not rename.exchange(new, self.environment):
            os.rename(self.environment, old / "before")
            os.rename(new, self.environment)


def _is_full(error: OSError) -> bool:
    if isinstance(error, shutil.Error):  # a list of (from, to, what was wrong, in words)
        words = [str(entry[-1]) for entry in error.args[0]]
        return any(f"[Errno {number}]" in word for word in words for number in _FULL)
    return error.errno in _FULL


def _loosen(path: Path) -> None:
    """Lets its owner rename a folder, whatever its mode."""
    with suppress(OSError):
        if not path.is_symlink() and path.is_dir():
            path.chmod(path.stat().st_mode & 0o7777 | 0o700)
