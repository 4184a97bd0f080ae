"""PostgreSQL's programs, for the tests of the ledger: each starts a private server from them.

Guarantees: only the distribution's package is installed. A cluster that the package makes for
itself is neither used nor needed, and its service need not run.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from . import apt
from .progress import Progress
from .settings import Settings

PACKAGES = ("postgresql",)
# Debian and its kin keep a folder per version, outside PATH
_FOLDERS = (Path("/usr/lib/postgresql"),)
_PROGRAMS = ("initdb", "postgres")


def bin_folder(folders: Sequence[Path] = _FOLDERS) -> Path | None:
    """Where initdb and postgres are: of the newest version, else what PATH has; None: nowhere."""
    found = [path for folder in folders for path in folder.glob("*/bin") if _complete(path)]
    if found:
        return max(found, key=_version)
    program = shutil.which("initdb")
    folder = Path(program).resolve().parent if program else None
    return folder if folder is not None and _complete(folder) else None


def ensure(settings: Settings, progress: Progress) -> None:
    """Install the package if its programs are missing. Raises SetupError with the command."""
    if bin_folder() is None:
        apt.install(settings, progress, PACKAGES)


def _complete(folder: Path) -> bool:
    return all((folder / program).is_file() for program in _PROGRAMS)


def _version(path: Path) -> tuple[int, ...]:
    return tuple(int(part) if part.isdigit() else 0 for part in path.parent.name.split("."))
