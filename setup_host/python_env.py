"""The virtual environment of the hub and of the tests.

Guarantees: exactly the locked packages, with their hashes checked; the stamp lies inside the
environment, so it cannot outlive it; a broken or half-made environment is made anew; the one of
another checkout is never changed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from . import apt, preflight, stamps
from .environment import tool_environ
from .errors import SetupError
from .progress import Progress
from .settings import Settings

_PROBE = "import sys, pip; print('%d.%d' % sys.version_info[:2])"
_VERSION = f"{sys.version_info[0]}.{sys.version_info[1]}"


def lock_file(settings: Settings, name: str) -> Path:
    """The lock of `build`, `hub`, `dev`, `breaking` or `frameworks`."""
    return settings.root / "requirements" / f"{name}.txt"


def is_current(settings: Settings, *, dev: bool) -> bool:
    """Whether the environment works and holds the locked packages (`dev`: the tests' as well)."""
    stamp = stamps.read(settings.venv / ".gpucamp-lock")
    names = ("dev",) if dev else ("hub", "dev")  # dev.txt is hub.txt and more
    return stamp in [_digest(settings, name) for name in names] and _works(settings)


def ensure(settings: Settings, progress: Progress, *, dev: bool = False) -> None:
    """Make the environment, or bring it up to date. Raises SetupError."""
    _require_own(settings)
    if not is_current(settings, dev=dev):
        title = "Python packages of the hub" + (" and the tests" if dev else "")
        with progress.step(f"{title} (about a minute)"):
            _make(settings, progress)
            _install(settings, progress, "dev" if dev else "hub")
    _install_gpucamp(settings, progress)


def _require_own(settings: Settings) -> None:
    """A link leads to another checkout's, whose hub would run this checkout's code from here on."""
    if settings.venv.is_symlink():
        raise SetupError(
            f"{settings.venv} is a link to {settings.venv.resolve()}.",
            "remove the link: the environment of this checkout is made in about a minute.",
        )


def _digest(settings: Settings, name: str) -> str:
    locks = [lock_file(settings, name), lock_file(settings, "build")]
    return stamps.digest(settings.root, locks, _VERSION, str(settings.venv))


def _works(settings: Settings) -> bool:
    try:
        result = subprocess.run(
            [settings.python, "-c", _PROBE], capture_output=True, text=True, timeout=60
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return result.returncode == 0 and result.stdout.strip() == _VERSION


def _make(settings: Settings, progress: Progress) -> None:
    if _works(settings):
        return
    preflight.space(settings.tools, preflight.TOOLS_BYTES, "The Python and npm parts")
    shutil.rmtree(settings.venv, ignore_errors=True)
    settings.tools.mkdir(parents=True, exist_ok=True, mode=0o700)
    ensurepip = subprocess.run(
        [sys.executable, "-c", "import ensurepip, venv"], capture_output=True, timeout=60
    )
    if ensurepip.returncode != 0:
        apt.install(settings, progress, [f"python{_VERSION}-venv"])
    progress.run(
        [sys.executable, "-m", "venv", settings.venv],
        log=settings.logs / "python.log",
        problem="The virtual environment cannot be made.",
        remedy="on Debian install python3-venv; elsewhere the package with Python's `venv`.",
    )


def _install(settings: Settings, progress: Progress, name: str) -> None:
    stamp = settings.venv / ".gpucamp-lock"
    stamps.forget(stamp)
    # no build isolation: what builds a package that has no wheel is locked, too
    for lock in ("build", name):
        progress.run(
            [
                *(settings.python, "-m", "pip", "install", "--progress-bar", "off", "--no-deps"),
                *("--use-pep517", "--no-build-isolation", "--require-hashes"),
                *("-r", lock_file(settings, lock)),
            ],
            log=settings.logs / "python.log",
            environ=tool_environ(settings, os.environ),
            problem="The locked Python packages cannot be installed.",
            remedy="see the log; `make clean` and a new start help if the environment is broken.",
        )
    stamps.write(stamp, _digest(settings, name))


def _install_gpucamp(settings: Settings, progress: Progress) -> None:
    """The checkout itself, editable; again when what it declares or ships has changed."""
    root = settings.root
    shipped = [
        root / "pyproject.toml",
        root / "server_ext" / "jupyter_server_config.json",
        root / "labextension" / "install.json",
        *stamps.files_below(root / "labextension" / "prebuilt"),
    ]
    stamp = settings.venv / ".gpucamp-editable"
    digest = stamps.digest(root, shipped, str(root))
    if stamps.read(stamp) == digest:
        return
    stamps.forget(stamp)
    progress.run(
        [
            *(settings.python, "-m", "pip", "install", "--progress-bar", "off", "--no-deps"),
            *("--no-build-isolation", "--no-index", "-e", root),
        ],
        log=settings.logs / "python.log",
        environ=tool_environ(settings, os.environ),
        problem="gpucamp cannot be installed into its own virtual environment.",
        remedy="see the log: pyproject.toml or a file that it names is likely broken.",
    )
    stamps.write(stamp, digest)


def require(settings: Settings) -> None:
    """Raises SetupError where there is no environment yet."""
    if not settings.python.exists():
        raise SetupError("gpucamp is not set up here.", "run `make run` first.")
