"""What a reset takes away, looked at in a bounded time. Blocking; never raises OSError.

Guarantee: what cannot be found out in time, or at all, is None; the rest is told all the same.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import outside
from .environment_lock import Locked
from .installed_from import locked
from .package_sizes import package_bytes
from .packages import (
    base_folder,
    changed_packages,
    layers,
    metadata,
    removed_packages,
)
from .sizes import Budget, measure

NOTHING_KNOWN: Mapping[str, Any] = {
    "changed_packages": [],
    "outside": {"files": [], "bytes": None, "more": 0},
    "environment_bytes": None,
}


@dataclass(frozen=True)
class Limits:
    """Entries and seconds of each look."""

    entries: int = 300_000
    packages: float = 1.5
    outside: float = 1.5
    environment: float = 2.0


@dataclass(frozen=True)
class Place:
    """Where a participant's things are. home: absolute; folders: the environment's packages."""

    home: Path
    work: Path
    folders: Sequence[str]


def look(place: Place, limits: Limits) -> dict[str, Any]:
    """{changed_packages, outside, environment_bytes}: as the REST interface tells it."""
    mounts = outside.mount_points()
    home = os.path.realpath(place.home)
    saved = outside.look(Path(home), Budget(limits.entries, limits.outside), mounts)
    packages = _packages(place, Budget(limits.entries, limits.packages))
    without = {*mounts, os.path.realpath(place.work)} - {home}
    tree = measure(home, Budget(limits.entries, limits.environment), without)
    return {
        "changed_packages": packages,
        "outside": saved,
        "environment_bytes": None if tree is None else tree.allocated,
    }


def again_lines(place: Place) -> dict[str, Locked]:
    """What brings each package of a person's own back, by its name."""
    folders = list(place.folders)
    packages, _ = locked(changed_packages(base_folder(), folders), folders, str(place.work))
    return {package.name: package for package in packages}


def _packages(place: Place, budget: Budget) -> list[dict[str, Any]]:
    base, folders = base_folder(), list(place.folders)
    again = again_lines(place)
    where = {
        name: (folder, info)
        for folder in layers(base, folders)
        for name, (_, info) in metadata(folder).items()
    }
    found = [
        {
            "name": package.name,
            "base": package.base,
            "environment": package.environment,
            "bytes": package_bytes(*where[package.name], budget) if package.name in where else None,
            "again": package.name in again,
        }
        for package in changed_packages(base, folders)
    ]
    found += [
        {"name": name, "base": version, "environment": None, "bytes": None, "again": False}
        for name, version in removed_packages(base, folders).items()
    ]
    return sorted(found, key=lambda package: str(package["name"]))
