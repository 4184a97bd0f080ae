"""The `docker` command that can build with BuildKit, and the few questions asked of it.

Guarantees: a question never hangs (each has a time limit); choosing a command is a pure decision
over what the candidates answer.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from .errors import SetupError

_QUESTION_SECONDS = 30.0
# Up to this version the command has BuildKit's client built in; later ones need the buildx plugin.
_BUILT_IN_BEFORE = 23


@dataclass(frozen=True)
class DockerCLI:
    """A usable docker command."""

    path: str

    def ask(self, *arguments: str, seconds: float = _QUESTION_SECONDS) -> str | None:
        """What a command prints, stripped; None where it fails or takes too long."""
        return _ask((self.path, *arguments), seconds)

    def image_id(self, reference: str) -> str | None:
        """The id of a local image, or None."""
        return self.ask("image", "inspect", "--format", "{{.Id}}", reference)


def find(path: str | None = None) -> DockerCLI:
    """The first docker on the PATH that can build with BuildKit.

    Raises SetupError where there is none.
    """
    folders = (os.environ.get("PATH", "") if path is None else path).split(os.pathsep)
    found: dict[str, str] = {}  # /bin and /usr/bin are often the same
    for file in (os.path.join(folder, "docker") for folder in folders if folder):
        if os.access(file, os.X_OK):
            found.setdefault(os.path.realpath(file), file)
    return DockerCLI(choose(found.values(), lambda command: _ask(command, _QUESTION_SECONDS)))


def choose(candidates: Iterable[str], ask: Callable[[tuple[str, ...]], str | None]) -> str:
    """The first candidate that builds with BuildKit; `ask` runs a command (None: it failed)."""
    lacking = []
    for file in candidates:
        # `docker --version` does not need an Engine
        version = ask((file, "--version")) or ""
        digits = "".join(c if c.isdecimal() else " " for c in version).split()
        if digits and int(digits[0]) < _BUILT_IN_BEFORE:
            return file
        if ask((file, "buildx", "version")) is not None:
            return file
        lacking.append(file)
    if lacking:
        raise SetupError(
            f"{' and '.join(lacking)} cannot build images: the buildx plugin is missing.",
            "install it (on Debian 13: `apt-get install docker-buildx`; "
            "with Docker's own packages: `apt-get install docker-buildx-plugin`).",
        )
    raise SetupError(
        "There is no `docker` command on the PATH.",
        "install it (on Debian 12: `apt-get install docker.io`; on Debian 13: "
        "`apt-get install docker.io docker-cli docker-buildx`).",
    )


def _ask(command: tuple[str, ...], seconds: float) -> str | None:
    try:
        result = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return result.stdout.strip() if result.returncode == 0 else None
