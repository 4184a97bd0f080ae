"""JupyterLab's workspaces go with a reset that was asked for in JupyterLab.

They are in the environment, so that a reset from outside of JupyterLab mends a layout with which it
does not load. A server whose page asked for the reset writes them to the work folder; the next
server takes them up before it serves.

Guarantees: what was written is used at most once, by the next start, only where the environment
is another one by then, and not after an hour: no layout comes back for ever. Whatever is in
the file, only workspaces are written, and the start goes on.
"""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path

from .. import json_file, regular_file
from .server_files import mark

FOLDER_VARIABLE = "JUPYTERLAB_WORKSPACES_DIR"
SERVER_VARIABLE = "JUPYTERHUB_SERVER_NAME"
GENERATION_VARIABLE = "GPUCAMP_GENERATION"

_WORKSPACE = re.compile(r"[\w-][\w.-]{0,200}\.jupyterlab-workspace")
_MOST_FILES = 100
_MOST_ENTRIES = 10_000  # of the folder
_MOST_BYTES = 2**22  # of all of them together
_LONGEST_SECONDS = 3600
# JupyterLab's server writes a workspace in place: what is half written is whole a moment later
_LOOKS = 5  # again, at all of them together: what stays broken keeps nobody from a reset
_EVERY_SECONDS = 0.05


def path_in(state: Path, server: str) -> Path:
    """Where a server's are kept. state: `.gpucamp` of the work folder."""
    return state / f"layout{mark(server)}.json"


def carry(state: Path, environ: Mapping[str, str]) -> bool:
    """Write this server's workspaces down for the next; whether there are any. Blocking; what
    cannot be written is not carried.
    """
    target = path_in(state, environ.get(SERVER_VARIABLE, ""))
    files = _read(Path(environ[FOLDER_VARIABLE])) if FOLDER_VARIABLE in environ else {}
    try:
        if not files:
            target.unlink(missing_ok=True)
            return False
        state.mkdir(parents=True, exist_ok=True)
        left = environ.get(GENERATION_VARIABLE, "")
        json_file.write(target, {"at": time.time(), "left": left, "files": files}, indent=None)
    except OSError as error:
        _complain(target, error)
        return False
    return True


def drop(state: Path, environ: Mapping[str, str]) -> None:
    """There is no reset after all. Blocking."""
    target = path_in(state, environ.get(SERVER_VARIABLE, ""))
    try:
        target.unlink(missing_ok=True)
    except OSError as error:
        _complain(target, error)


def take_up(state: Path, environ: Mapping[str, str]) -> None:
    """Give the workspaces to the server that starts. Blocking; never raises OSError."""
    source = path_in(state, environ.get(SERVER_VARIABLE, ""))
    try:
        data = regular_file.read(source, 4 * _MOST_BYTES)
        source.unlink(missing_ok=True)  # first: what cannot be taken away is not used
    except OSError as error:
        _complain(source, error)
        return
    if data is None:
        return
    folder = Path(environ[FOLDER_VARIABLE])
    for name, text in _wanted(data, environ.get(GENERATION_VARIABLE, "")).items():
        try:
            _write(folder / name, text)
        except OSError as error:
            _complain(folder / name, error)


def _wanted(data: bytes, generation: str) -> dict[str, str]:
    """The workspaces in what `carry` wrote, if they are for this start. Pure but for the clock."""
    try:
        kept = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(kept, dict):
        return {}
    at, files = kept.get("at"), kept.get("files")
    if (
        kept.get("left") == generation
        or not isinstance(at, int | float)
        or not 0 <= time.time() - at < _LONGEST_SECONDS
        or not isinstance(files, dict)
    ):
        return {}
    return {
        name: text
        for name, text in files.items()
        if _WORKSPACE.fullmatch(name) and isinstance(text, str)
    }


def _read(folder: Path) -> dict[str, str]:
    """The newest workspaces, as many as there is room for."""
    dated = []
    try:
        for entry in islice(os.scandir(folder), _MOST_ENTRIES):
            if _WORKSPACE.fullmatch(entry.name):
                dated.append((entry.stat().st_mtime, entry.name))
    except OSError:
        return {}
    found: dict[str, str] = {}
    room = _MOST_BYTES
    looks = iter(range(_LOOKS))
    for _, name in sorted(dated, reverse=True)[:_MOST_FILES]:
        data = _whole(folder / name, room, looks)
        if data is not None:
            room -= len(data)
            found[name] = data.decode("utf-8", "replace")
    return found


def _whole(path: Path, room: int, looks: Iterator[int]) -> bytes | None:
    """A workspace of at most `room` bytes; None: there is none. looks: those that are left."""
    while (data := regular_file.read(path, room)) is not None:
        try:
            json.loads(data)
            return data
        except (ValueError, RecursionError):
            if next(looks, None) is None:
                return None
            time.sleep(_EVERY_SECONDS)
    return None


def _write(path: Path, text: str) -> None:
    """Whole or not at all. Raises OSError."""
    descriptor, partial = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="replace") as file:
            file.write(text)
        os.replace(partial, path)
    except BaseException:
        Path(partial).unlink(missing_ok=True)
        raise


def _complain(path: Path, error: OSError) -> None:
    print(f"gpucamp: the layout of JupyterLab, {path}: {error}", file=sys.stderr)
