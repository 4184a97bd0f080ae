"""Wheels that tests install into a participant's environment: the tests themselves reach no index.

Each folder of wheels has a lock, `requirements/<name>.txt`, and is fetched once.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from . import python_env
from .environment import tool_environ
from .errors import SetupError
from .progress import Progress
from .settings import Settings


@dataclass(frozen=True)
class Wheels:
    """What is fetched for a test."""

    lock: str
    of: str  # "the packages of ..."
    variable: str  # that tells the tests the folder
    optional: bool = False  # not on PyPI: only where pip looks elsewhere, too


WHEELS = (
    Wheels("breaking", "that the browser test installs", "GPUCAMP_BREAKING_WHEELS"),
    Wheels("frameworks", "of Lightning and its like", "GPUCAMP_FRAMEWORKS_WHEELS"),
    Wheels("newer-torch", "of a newer torch (2.6 GB)", "GPUCAMP_NEWER_TORCH_WHEELS"),
    Wheels("cpu-torch", "of a torch without CUDA", "GPUCAMP_CPU_TORCH_WHEELS", optional=True),
)
_NOT_OFFERED = "No matching distribution found"  # pip's words


def ensure(settings: Settings, progress: Progress) -> dict[str, str]:
    """Fetch what is not there yet; the variables that name the folders.

    Raises SetupError. The folder of optional wheels that pip finds nowhere stays empty.
    """
    variables = {}
    for wheels in WHEELS:
        folder = settings.state / f"{wheels.lock}-wheels"
        try:
            _fetch(settings, progress, wheels, folder)
        except SetupError as error:
            if not wheels.optional or _NOT_OFFERED not in error.detail:
                raise
            progress.say(f"* No packages {wheels.of} where pip looks: a test will say NOT RUN.")
        variables[wheels.variable] = str(folder)
    return variables


def _fetch(settings: Settings, progress: Progress, wheels: Wheels, folder: Path) -> None:
    lock = python_env.lock_file(settings, wheels.lock)
    mark = folder / "lock"
    if mark.exists() and mark.read_bytes() == lock.read_bytes():
        return
    shutil.rmtree(folder, ignore_errors=True)
    with progress.step(f"Packages {wheels.of}"):
        progress.run(
            [
                *(settings.python, "-m", "pip", "download", "--no-deps", "--require-hashes"),
                *("--dest", folder, "-r", lock),
            ],
            log=settings.logs / "python.log",
            environ=tool_environ(settings, os.environ),
            problem=f"The packages {wheels.of} cannot be downloaded.",
            remedy="see the log.",
        )
    folder.chmod(0o755)
    for file in folder.iterdir():
        file.chmod(0o644)  # participants, who are not root, install them
    mark.write_bytes(lock.read_bytes())
