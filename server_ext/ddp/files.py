"""Finds a script or module and its folder below the Jupyter root, or refuses with what is allowed.

Guarantees: a path that is returned exists, is a regular readable .py file, and is below the root
after every link has been followed; ".." and absolute paths are refused as written. A module may be
an installed one, of which nothing is read.
"""

from __future__ import annotations

import os
import stat
from dataclasses import replace
from pathlib import Path, PurePosixPath

from ..errors import BadRequest
from ..i18n import N_
from .launch_plan import Advice, Script
from .preflight import examine_file, unread

READ_AT_MOST = 256 * 1024  # of a script, for advice


def find_script(root: str, script: str, working_directory: str | None = None) -> Script:
    """The script `script` and its working directory, both relative to `root`.

    The default working directory is the script's own folder, as for a notebook.
    Raises BadRequest. Blocking I/O.
    """
    if not PurePosixPath(script).parts:
        raise BadRequest(
            N_("{name} is missing: name a file below your work folder."), name="script"
        )
    path = below(root, script, "script")
    if working_directory is None:
        folder = path.parent
    else:
        folder = _folder(root, working_directory)
    return read_script(path, script, folder, Path(os.path.realpath(root)))


def find_module(root: str, module: str, working_directory: str | None = None) -> Script:
    """The module `module` as `python -m` finds it from its working directory (default: the root).

    Raises BadRequest. Blocking I/O.
    """
    folder = _folder(root, working_directory or "")
    return read_module(module, folder, Path(os.path.realpath(root)))


def read_module(module: str, folder: Path, top: Path | None = None) -> Script:
    """As find_module, for an absolute folder. top: what a file of it must be below; None: anything.

    Raises BadRequest. Blocking I/O.
    """
    if not os.access(folder, os.R_OK | os.X_OK):
        raise BadRequest(N_("The folder of {name} cannot be entered."), name=module)
    place = folder.joinpath(*module.split("."))
    for path in (place / "__main__.py", place.with_suffix(".py")):
        if not path.exists():
            continue
        if top is not None and not path.resolve().is_relative_to(top):
            raise BadRequest(
                N_("{name} leads out of your work folder by a link: copy the file instead."),
                name=module,
            )
        script = read_script(path, module, folder, top, module=True)
        return replace(script, path=module, is_module=True)
    if (place / "__init__.py").exists():
        raise BadRequest(
            N_("{name} is a package without __main__.py: name one of its modules."), name=module
        )
    installed = Advice(
        "installed-module",
        N_("No file of {name} is in the working folder: it must be installed."),
        {"name": module},
    )
    return Script(module, module, str(folder), (installed,), is_module=True)


def read_script(
    path: Path, shown: str, folder: Path, top: Path | None = None, *, module: bool = False
) -> Script:
    """As find_script, for an absolute path that need not be below anything (a terminal's).

    top: what the modules that it imports must be below to be read for advice; None: its folders.

    Raises BadRequest. Blocking I/O.
    """
    if path.suffix == ".ipynb":
        raise BadRequest(
            N_(
                "{name} is a notebook, and every process needs a script: make one of it (right "
                "click, Launch DDP), or save its code as a .py file."
            ),
            name=shown,
        )
    if path.suffix != ".py":
        raise BadRequest(N_("{name} is not a Python script: choose a .py file."), name=shown)
    head = read_file(path, shown, READ_AT_MOST + 1)
    if b"\0" in head:
        raise BadRequest(N_("{name} is not text: choose a Python script."), name=shown)
    if not os.access(folder, os.R_OK | os.X_OK):
        raise BadRequest(N_("The folder of {name} cannot be entered."), name=shown)
    if len(head) > READ_AT_MOST:
        read = unread()
    else:
        read = examine_file(head, path, folder, top, module=module)
    return Script(str(path), shown, str(folder), read.advice, trackers=read.trackers)


def read_file(path: Path, shown: str, count: int) -> bytes:
    """The first `count` bytes of a regular file. shown: how a refusal calls it.

    Raises BadRequest. Blocking I/O.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise BadRequest(N_("{name} is not a file."), name=shown)
        with path.open("rb") as file:
            return file.read(count)
    except OSError as error:
        raise BadRequest(
            N_("{name} cannot be read: {reason}."), name=shown, reason=error.strerror
        ) from error


def _folder(root: str, name: str) -> Path:
    folder = below(root, name, "working_directory")
    if not folder.is_dir():
        raise BadRequest(N_("The working directory {name} is not a folder."), name=name)
    return folder


def below(root: str, name: str, what: str) -> Path:
    """The real path of a name relative to `root`. what: how a refusal calls it.

    Raises BadRequest where it does not exist or is not below. Blocking I/O.
    """
    relative = PurePosixPath(name)
    if relative.is_absolute() or ".." in relative.parts:
        raise BadRequest(
            N_("{what} must be a path below your work folder, without '..': {name}"),
            what=what,
            name=name,
        )
    top = Path(os.path.realpath(root))
    try:
        found = (top / relative).resolve(strict=True)
    except (OSError, RuntimeError) as error:  # RuntimeError: a loop of links
        missing = isinstance(error, FileNotFoundError)
        reason = N_("{name} does not exist.") if missing else N_("{name} cannot be opened.")
        raise BadRequest(reason, name=name) from error
    if not found.is_relative_to(top):
        raise BadRequest(
            N_("{name} leads out of your work folder by a link: copy the file instead."), name=name
        )
    return found
