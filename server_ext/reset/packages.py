"""Which packages of the environment differ from the base.

Guarantees: only names of folders are read, so a wrecked package can neither run code here nor make
this fail; an environment that does not exist has no differences.
"""

from __future__ import annotations

import os
import re
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

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
    """The site-packages of the environment that a kernel's Python belongs to."""
    prefix = Path(kernel_python).parent.parent
    return sorted(str(path) for path in prefix.glob("lib/python3*/site-packages"))


def changed_packages(base: str, environment: list[str]) -> list[ChangedPackage]:
    """Packages in the environment's folders whose version is not the base's. Blocking I/O."""
    layers = [
        folder for folder in environment if os.path.realpath(folder) != os.path.realpath(base)
    ]
    before = installed(base)
    after: dict[str, str] = {}
    for folder in layers:
        after.update(installed(folder))
    return compare(before, after)


def compare(before: Mapping[str, str], after: Mapping[str, str]) -> list[ChangedPackage]:
    """What an environment's own packages change. Pure."""
    return [
        ChangedPackage(name, before.get(name), version)
        for name, version in sorted(after.items())
        if before.get(name) != version
    ]


def installed(folder: str) -> dict[str, str]:
    """Normalised name -> version of what is installed in a site-packages folder."""
    newest: dict[str, tuple[float, str]] = {}
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return {}
    for entry in entries:
        found = _INSTALLED.fullmatch(entry.name)
        if not found:
            continue
        try:
            changed = entry.stat(follow_symlinks=False).st_mtime
        except OSError:
            changed = 0.0
        name = re.sub(r"[-_.]+", "-", found["name"]).lower()
        # An upgrade that was cut off leaves two of them: the later is what counts.
        newest[name] = max(newest.get(name, (0.0, "")), (changed, found["version"]))
    return {name: version for name, (_, version) in newest.items()}
