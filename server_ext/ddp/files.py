"""Finds a script and its folder below the Jupyter root, or refuses with what is allowed.

Guarantees: a path that is returned exists, is a regular readable .py file, and is below the root
after every link has been followed; ".." and absolute paths are refused as written.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path, PurePosixPath

from ..errors import BadRequest
from ..i18n import N_
from .launch_plan import Script
from .preflight import advise, unread

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
    path = _below(root, script, "script")
    if working_directory is None:
        folder = path.parent
    else:
        folder = _below(root, working_directory, "working_directory")
        if not folder.is_dir():
            raise BadRequest(
                N_("The working directory {name} is not a folder."), name=working_directory
            )
    return read_script(path, script, folder)


def read_script(path: Path, shown: str, folder: Path) -> Script:
    """As find_script, for an absolute path that need not be below anything (a terminal's).

    Raises BadRequest. Blocking I/O.
    """
    if path.suffix == ".ipynb":
        raise BadRequest(
            N_(
                "{name} is a notebook, and every process needs a script: save its code as a .py "
                "file (File > Save and Export Notebook As > Executable Script)."
            ),
            name=shown,
        )
    if path.suffix != ".py":
        raise BadRequest(N_("{name} is not a Python script: choose a .py file."), name=shown)
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise BadRequest(N_("{name} is not a file: choose a .py file."), name=shown)
        with path.open("rb") as file:
            head = file.read(READ_AT_MOST + 1)
    except OSError as error:
        raise BadRequest(
            N_("{name} cannot be read: {reason}."), name=shown, reason=error.strerror
        ) from error
    if b"\0" in head:
        raise BadRequest(N_("{name} is not text: choose a Python script."), name=shown)
    if not os.access(folder, os.R_OK | os.X_OK):
        raise BadRequest(N_("The folder of {name} cannot be entered."), name=shown)
    advice = unread() if len(head) > READ_AT_MOST else advise(head)
    return Script(str(path), shown, str(folder), advice)


def _below(root: str, name: str, what: str) -> Path:
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
