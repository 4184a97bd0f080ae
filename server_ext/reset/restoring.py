"""How a lock's packages get into an environment: by the base's pip, so that an environment whose
own pip is broken can be restored, too. Blocking; `why` is pure.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from .. import regular_file
from .environment_lock import Locked
from .installed_from import locked
from .packages import base_folder, changed_packages, installed, metadata

_LONGEST_REASON = 400
_ESCAPE = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


def pip_install(python: str, requirements: str, *options: str) -> list[str]:
    """The command. Without dependencies: those are in the lock, or in the base."""
    command = [sys.executable, "-I", "-m", "pip", "--python", python, "install", "--no-deps"]
    return [*command, "--disable-pip-version-check", *options, "-r", requirements]


def requirements(packages: Iterable[Locked]) -> str:
    """The text of a file for `pip_install`."""
    return "".join(f"{package.line}\n" for package in packages)


def there(wanted: Sequence[Locked], folders: Sequence[str], work: Path) -> list[Locked]:
    """Which of them the environment has, as the lock says, and whole: an installation that was cut
    off does not count.
    """
    base, own = base_folder(), list(folders)
    present, _ = locked(changed_packages(base, own), own, str(work))
    before = installed(base)
    entries = {
        name: (folder, version, info)
        for folder in own
        for name, (version, info) in metadata(folder).items()
    }
    found = []
    for package in wanted:
        if package.name in entries:
            folder, version, info = entries[package.name]
            well = package in present or version == package.version
            if well and _is_whole(folder, info):
                found.append(package)
        elif package.version and before.get(package.name) == package.version:
            found.append(package)  # the base has it by now
    return found


def _is_whole(folder: str, info: str) -> bool:
    """pip writes a package's RECORD last, with its own mark in it."""
    record = regular_file.read(os.path.join(folder, info, "RECORD"), 2**26)
    return record is not None and f"{info}/INSTALLER".encode() in record


def why(output: str) -> str:
    """What pip says that was wrong, on one line; "" where it says nothing."""
    lines = [_ESCAPE.sub("", line).strip() for line in output.splitlines()]
    errors = [line.partition("ERROR:")[2].strip() for line in lines if line.startswith("ERROR:")]
    said = list(dict.fromkeys(error for error in errors if error))
    text = " ".join(said) or next((line for line in reversed(lines) if line), "")
    return text if len(text) <= _LONGEST_REASON else f"{text[: _LONGEST_REASON - 1]}…"
