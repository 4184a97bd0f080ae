"""Runs the single-user server, after setting aside what would keep JupyterLab's page from loading.

A settings or workspace file that cannot be read (a full disk cut it off, an editor or a program
broke it, a fifo or a dead link is in its place) makes the server answer 500 to every page load, or
wait for ever. Such a file is renamed to *.broken; the page then starts with its defaults. Where it
cannot be renamed, the page takes its defaults from an empty folder in /tmp. Before that, the
workspaces that a reset asked for in JupyterLab left are taken up.
"""

import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from server_ext import regular_file

LARGEST = 8 * 2**20  # bytes of a file; JupyterLab's have some thousand
# a JSON5 parser in Python: larger texts would keep the server from starting for minutes
LARGEST_JSON5 = 2**16
DEEPEST = 2  # settings are in <scope>/<extension>/


def object_of(text: str) -> Any:
    """What JSON, or JSON with comments and the like (JSON5), says. Raises ValueError."""
    try:
        return json.loads(text)
    except ValueError:
        if len(text) > LARGEST_JSON5:
            raise
        # seldom needed, and slow to import
        import json5

        return json5.loads(text)


def is_settings(text: str) -> bool:
    """Whether JupyterLab can read it. Raises ValueError."""
    return isinstance(object_of(text), dict)


def is_workspace(text: str) -> bool:
    """Whether JupyterLab can read it. Raises ValueError."""
    found = json.loads(text)
    return isinstance(found, dict) and isinstance(found.get("metadata"), dict)


# variable that names the folder -> suffix of the files that JupyterLab reads there, what they are
READ_BY_THE_PAGE: dict[str, tuple[str, Callable[[str], bool]]] = {
    "JUPYTERLAB_SETTINGS_DIR": (".jupyterlab-settings", is_settings),
    "JUPYTERLAB_WORKSPACES_DIR": (".jupyterlab-workspace", is_workspace),
}


def readable(path: str, accepts: Callable[[str], bool]) -> bool:
    """Whether it is a file that JupyterLab can read. Never blocks."""
    data = regular_file.read(path, LARGEST)
    try:
        return data is not None and accepts(data.decode("utf-8"))
    except (ValueError, RecursionError):
        return False


def files(folder: str, suffix: str, depth: int = DEEPEST) -> Iterator[str]:
    """What has this suffix in a folder and its folders, whatever it is. Raises OSError."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith(suffix):
                yield entry.path
            elif depth and entry.is_dir():
                yield from files(entry.path, suffix, depth - 1)


def set_aside(path: str) -> str:
    """Rename it to *.broken; the new path. Raises OSError."""
    name = os.path.basename(path)
    for number in range(1, 100):
        # of a name that is as long as names can be, the end makes room
        short = os.fsdecode(os.fsencode(name)[:230]) + ("" if number == 1 else f".{number}")
        aside = os.path.join(os.path.dirname(path), f"{short}.broken")
        if not os.path.lexists(aside):
            os.rename(path, aside)
            return aside
    raise OSError(f"{path}: there are too many that were set aside")


def set_aside_unreadable(folder: str, suffix: str, accepts: Callable[[str], bool]) -> bool:
    """Rename what cannot be read; False where something stays in the way. Never raises OSError."""
    clear = True
    try:
        for path in list(files(folder, suffix)):
            if not readable(path, accepts):
                say(f"set an unreadable file aside: {set_aside(path)!r}")
    except OSError as error:
        say(f"{folder}: {error}")
        clear = False
    return clear


def say(text: str) -> None:
    """In the server's log, whatever names are in it."""
    print("start-server:", text.encode("ascii", "backslashreplace").decode(), file=sys.stderr)


def take_up_layout() -> None:
    """What JupyterLab had open before a reset; whatever goes wrong, the server starts."""
    try:
        from server_ext.reset.layout import take_up

        take_up(Path.home() / "work" / ".gpucamp", os.environ)
    except Exception as error:  # nothing is worth a server that does not start
        print(f"start-server: the layout was not taken up: {error!r}", file=sys.stderr)


def main() -> None:
    take_up_layout()
    for variable, (suffix, accepts) in READ_BY_THE_PAGE.items():
        if not set_aside_unreadable(os.environ[variable], suffix, accepts):
            os.environ[variable] = tempfile.mkdtemp(prefix="jupyter-lab-", dir="/tmp")  # noqa: S108

    from jupyterhub.singleuser import main as serve

    serve()


if __name__ == "__main__":
    main()
