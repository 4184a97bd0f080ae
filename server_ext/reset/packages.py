"""Which packages of the environment differ from the base.

Guarantees: only names of folders are read (and the .pth files that show the base), so a wrecked
package can neither run code here nor make this fail; an environment that does not exist has no
differences; folders of any size are read for a bounded time.
"""

from __future__ import annotations

import os
import re
import sysconfig
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from .. import regular_file
from .sizes import Budget

_ENTRIES, _SECONDS, _MOST = 200_000, 2.0, 5000  # of one site-packages folder; names that count
_PYTHON = re.compile(r"python3")
_INSTALLED = re.compile(
    r"(?P<name>[A-Za-z0-9][\w.]*?)-(?P<version>[0-9][^-]*)(?:-.*)?\.(?:dist|egg)-info"
)


@dataclass(frozen=True)
class ChangedPackage:
    """A package of the environment; `base` is None where the base does not have it."""

    name: str
    base: str | None
    environment: str


def base_folder() -> str:
    """The site-packages of the base: this server runs from it."""
    return sysconfig.get_path("purelib")


def environment_folders(kernel_python: str) -> list[str]:
    """The site-packages of the environment that a kernel's Python, which need not be there, belongs
    to.
    """
    return site_folders(Path(kernel_python).parent.parent)


def site_folders(prefix: Path) -> list[str]:
    """The site-packages below a prefix; none where they cannot be read."""
    try:
        names = sorted(os.listdir(prefix / "lib"))
    except OSError:
        return []
    found = (str(prefix / "lib" / name / "site-packages") for name in names if _PYTHON.match(name))
    return [folder for folder in found if os.path.isdir(folder)]


def layers(base: str, environment: Iterable[str]) -> list[str]:
    """The environment's folders without the base itself."""
    return [folder for folder in environment if not _same(folder, base)]


def changed_packages(base: str, environment: list[str]) -> list[ChangedPackage]:
    """Packages in the environment's folders whose version is not the base's. Blocking I/O."""
    after: dict[str, str] = {}
    for folder in layers(base, environment):
        after.update(installed(folder))
    return compare(installed(base), after)


def removed_packages(base: str, environment: list[str]) -> dict[str, str]:
    """Packages of the base that the environment has not, with the base's version: none as long as
    one of its folders shows the base. Blocking I/O.
    """
    own = layers(base, environment)
    if len(own) < len(environment) or not own or any(_shows(folder, base) for folder in own):
        return {}
    after = {name for folder in own for name in installed(folder)}
    return {name: version for name, version in installed(base).items() if name not in after}


def _shows(folder: str, base: str) -> bool:
    """Whether a .pth file in the folder leads to the base, as Python follows them."""
    for name in _names(folder):
        if not name.endswith(".pth") or name.startswith("."):
            continue
        text = (regular_file.read(os.path.join(folder, name), 2**16) or b"").decode(
            "utf-8", "replace"
        )
        lines = [line.strip() for line in text.splitlines()]
        if any(line and _same(os.path.join(folder, line), base) for line in lines):
            return True
    return False


def _same(one: str, other: str) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)


def compare(before: Mapping[str, str], after: Mapping[str, str]) -> list[ChangedPackage]:
    """What an environment's own packages change. Pure."""
    return [
        ChangedPackage(name, before.get(name), version)
        for name, version in sorted(after.items())
        if before.get(name) != version
    ]


def installed(folder: str) -> dict[str, str]:
    """Normalised name -> version of what is installed in a site-packages folder."""
    return {name: version for name, (version, _) in metadata(folder).items()}


def metadata(folder: str) -> dict[str, tuple[str, str]]:
    """Normalised name -> (version, name of the folder with its metadata)."""
    newest: dict[str, tuple[float, str, str]] = {}
    for entry in _names(folder):
        found = _INSTALLED.fullmatch(entry)
        if not found:
            continue
        try:
            changed = os.lstat(os.path.join(folder, entry)).st_mtime
        except OSError:
            changed = 0.0
        name = re.sub(r"[-_.]+", "-", found["name"]).lower()
        # An upgrade that was cut off leaves two of them: the later is what counts.
        newest[name] = max(newest.get(name, (0.0, "", "")), (changed, found["version"], entry))
    return {name: (version, entry) for name, (_, version, entry) in newest.items()}


def _names(folder: str) -> list[str]:
    """What is in it and is a package's metadata or a .pth file, as far as the time suffices."""
    budget = Budget(_ENTRIES, _SECONDS)
    names: list[str] = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if not budget.spend() or len(names) >= _MOST:
                    break
                if entry.name.endswith(("-info", ".pth")):
                    names.append(entry.name)
    except OSError:
        pass
    return names
