"""A lock of what an environment has on top of the base, as a pip requirements file. Pure.

Guarantees: what is rendered is parsed again to the same; any text is an acceptable input: a line
that is not of the form that `render` writes is refused with its number, so that no option (another
index, say) gets to pip by way of a file that somebody shared.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import BadRequest
from ..i18n import N_

HEAD = "# gpucamp environment lock 1"
MAXIMUM_BYTES = 2**20

_NAME = r"(?P<name>[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)"
_VERSION = re.compile(rf"{_NAME}==(?P<version>[A-Za-z0-9.!+_-]+)")
_ADDRESS = re.compile(rf"{_NAME} @ (?P<url>[a-z+]+://[^\s'\"\\]+)")
_EDITABLE = re.compile(r"-e (?P<url>file://[^\s'\"\\]+)#egg=" + _NAME)
_BASE = re.compile(r"# base: (?P<base>[\x21-\x7e]{1,200})")


@dataclass(frozen=True)
class Locked:
    """A package. Either version or url is not ""; editable: a folder that is imported in place."""

    name: str  # normalised
    version: str = ""
    url: str = ""
    editable: bool = False

    @property
    def line(self) -> str:
        """As pip reads it."""
        if self.editable:
            return f"-e {self.url}#egg={self.name}"
        return f"{self.name} @ {self.url}" if self.url else f"{self.name}=={self.version}"


@dataclass(frozen=True)
class Lock:
    """base: of the image that it was made on, "" where it is not known; left_out: what cannot be
    brought back, as (name, reason).
    """

    packages: tuple[Locked, ...]
    base: str = ""
    left_out: tuple[tuple[str, str], ...] = ()


def render(lock: Lock) -> str:
    """As the file's text."""
    lines = [HEAD]
    if lock.base:
        lines.append(f"# base: {lock.base}")
    lines += [package.line for package in lock.packages]
    lines += [f"# left out: {name}: {reason}" for name, reason in lock.left_out]
    return "\n".join(lines) + "\n"


def parse(text: str) -> Lock:
    """Raises BadRequest, which names the line. Comments other than the base are passed over."""
    packages: list[Locked] = []
    base = ""
    for number, line in enumerate(text.split("\n"), 1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            named = _BASE.fullmatch(stripped)
            base = named["base"] if named else base
            continue
        package = _package(stripped)
        if package is None:
            raise BadRequest(
                N_(
                    "Line {number} is not one of a lock: {line}. Allowed are name==version, name @ "
                    "address, and -e file://… of a folder."
                ),
                number=number,
                line=stripped[:100],
            )
        packages.append(package)
    names = [package.name for package in packages]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise BadRequest(N_("The lock names {name} twice."), name=twice)
    return Lock(tuple(packages), base)


def missing(lock: Lock, present: Sequence[Locked]) -> tuple[Locked, ...]:
    """What of a lock an environment does not have as the lock says."""
    return tuple(package for package in lock.packages if package not in present)


def normalised(name: str) -> str:
    """As the Python packaging specification compares names."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _package(line: str) -> Locked | None:
    if found := _VERSION.fullmatch(line):
        return Locked(normalised(found["name"]), version=found["version"])
    if found := _EDITABLE.fullmatch(line):
        return Locked(normalised(found["name"]), url=found["url"], editable=True)
    if found := _ADDRESS.fullmatch(line):
        return Locked(normalised(found["name"]), url=found["url"])
    return None
