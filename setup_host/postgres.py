"""PostgreSQL's programs, for the tests of the ledger: each starts a private server from them.

Guarantees: only the distribution's package is installed, and it makes no cluster and starts no
service of its own; the host's settings are afterwards what they were.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from . import apt
from .progress import Progress
from .settings import Settings

PACKAGES = ("postgresql",)
# Debian and its kin keep a folder per version, outside PATH
_FOLDERS = (Path("/usr/lib/postgresql"),)
_PROGRAMS = ("initdb", "postgres")
# Debian: whether the package makes a cluster, which it starts
_CLUSTER_SETTINGS = Path("/etc/postgresql-common/createcluster.conf")


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
    if bin_folder() is not None:
        return
    if apt.may_install():
        apt.install(settings, progress, ["postgresql-common"])
    with _no_cluster(_CLUSTER_SETTINGS):
        apt.install(settings, progress, PACKAGES)


@contextlib.contextmanager
def _no_cluster(path: Path) -> Iterator[None]:
    """Meanwhile an installed server makes no cluster of its own."""
    if not path.is_file():
        yield
        return
    before = path.read_text(encoding="utf-8")
    path.write_text(f"{before.rstrip()}\ncreate_main_cluster = false\n", encoding="utf-8")
    try:
        yield
    finally:
        path.write_text(before, encoding="utf-8")


def _complete(folder: Path) -> bool:
    return all((folder / program).is_file() for program in _PROGRAMS)


def _version(path: Path) -> tuple[int, ...]:
    return tuple(int(part) if part.isdigit() else 0 for part in path.parent.name.split("."))
