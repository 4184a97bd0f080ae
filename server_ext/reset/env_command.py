"""`gpucamp-env`: what the environment has on top of the base; freeze it, restore it.

    gpucamp-env diff                 the packages that differ from the base
    gpucamp-env freeze [FILE]        writes them as a lock (~/work/environment.lock)
    gpucamp-env restore [FILE]       installs what the lock names and the environment has not

Guarantees: a lock is written whole or not at all; a package that cannot be installed keeps none of
the others from it, and is reported by itself. The base's pip does it, so that an environment whose
own pip is broken can be restored, too. Exit status: 0 for success, 1 where a package failed, 2 for
a request that is refused.
"""

from __future__ import annotations

import argparse
import os
import subprocess  # noqa: S404 - argv lists only
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from ..ddp.machine import kernel_python
from ..errors import BadRequest, GpucampServerError
from ..i18n import N_, Gettext, from_environment, gettext_for
from .environment_lock import MAXIMUM_BYTES, Lock, Locked, missing, parse, render
from .installed_from import locked
from .packages import base_folder, changed_packages, environment_folders, removed_packages
from .restoring import pip_install, requirements

FAILED, REFUSED = 1, 2
NAME = "environment.lock"


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point."""
    gettext = gettext_for(from_environment(os.environ))
    options = _parser().parse_args(argv)
    try:
        if options.action == "diff":
            return _diff(gettext)
        path = Path(options.file or work_folder() / NAME)
        return _freeze(path, gettext) if options.action == "freeze" else _restore(path, gettext)
    except GpucampServerError as error:
        print(error.render(gettext), file=sys.stderr)
        return REFUSED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="gpucamp-env", description="What you installed on top of the base environment."
    )
    actions = parser.add_subparsers(dest="action", required=True)
    actions.add_parser("diff", help="the packages that differ from the base")
    for name, text in (
        ("freeze", "write them as a lock"),
        ("restore", "install what a lock names and is not there"),
    ):
        action = actions.add_parser(name, help=text)
        action.add_argument("file", nargs="?", help=f"default: {NAME} in your work folder")
    return parser


def work_folder() -> Path:
    """The folder that outlives an environment."""
    return Path(os.environ.get("GPUCAMP_WORK", Path.home() / "work"))


def _now() -> Lock:
    folders = environment_folders(kernel_python())
    changed = changed_packages(base_folder(), folders)
    packages, left_out = locked(changed, folders, str(work_folder()))
    return Lock(tuple(packages), os.environ.get("GPUCAMP_IMAGE", ""), tuple(left_out))


def _diff(gettext: Gettext) -> int:
    changed = changed_packages(base_folder(), environment_folders(kernel_python()))
    for package in changed:
        before = package.base or gettext(N_("not in the base"))
        print(f"{package.name} {package.environment} ({before})")
    removed = removed_packages(base_folder(), environment_folders(kernel_python()))
    gone = gettext(N_("removed"))
    for name, version in sorted(removed.items()):
        print(f"{name} {gone} ({version})")
    if not changed and not removed:
        print(gettext(N_("The environment is the base's, with nothing on top.")))
    return 0


def _freeze(path: Path, gettext: Gettext) -> int:
    lock = _now()
    try:
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(render(lock))
        os.chmod(temporary, 0o644)  # it is made to be shared
        os.replace(temporary, path)
    except OSError as error:
        raise BadRequest(
            N_("{name} cannot be written: {reason}."), name=str(path), reason=error.strerror
        ) from error
    for name, reason in lock.left_out:
        print(f"! {name}: {gettext(reason)}", file=sys.stderr)
    print(
        gettext(N_("{count} packages are in {name}.")).format(count=len(lock.packages), name=path)
    )
    return FAILED if lock.left_out else 0


def _restore(path: Path, gettext: Gettext) -> int:
    try:
        with path.open("rb") as file:
            text = file.read(MAXIMUM_BYTES + 1)
    except OSError as error:
        raise BadRequest(
            N_("{name} cannot be read: {reason}."), name=str(path), reason=error.strerror
        ) from error
    if len(text) > MAXIMUM_BYTES:
        raise BadRequest(N_("{name} is too long for a lock."), name=str(path))
    lock = parse(text.decode("utf-8", errors="replace"))
    image = os.environ.get("GPUCAMP_IMAGE", "")
    if lock.base and image and lock.base != image:
        told = gettext(N_("The lock was made on another image: compiled packages may not fit."))
        print(f"! {told}", file=sys.stderr)
    wanted = missing(lock, _now().packages)
    if not wanted:
        print(gettext(N_("Everything in the lock is there already.")))
        return 0
    if _install(wanted) != 0 and len(wanted) > 1:
        print(gettext(N_("Together they cannot be installed: one by one.")), file=sys.stderr)
        for package in wanted:
            _install([package])
    left = missing(lock, _now().packages)
    for package in wanted:
        mark, word = ("✗", N_("failed")) if package in left else ("✓", N_("installed"))
        print(f"{mark} {package.line}: {gettext(word)}")
    return FAILED if left else 0


def _install(packages: Sequence[Locked]) -> int:
    """pip's exit status."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf-8") as file:
        file.write(requirements(packages))
        file.flush()
        command = pip_install(kernel_python(), file.name)
        return subprocess.run(command, check=False).returncode  # noqa: S603
