"""Runs the single-user server, after setting aside what would keep JupyterLab's page from loading.

A settings or workspace file that a full disk or an editor left unreadable makes the server answer
500 to every page load. Such a file is renamed to *.broken; the page then starts with its defaults.
Before that, the workspaces that a reset asked for in JupyterLab left are taken up.
"""

import json
import os
import sys
from pathlib import Path

# variable that names the folder -> suffix of the files that JupyterLab reads there
READ_BY_THE_PAGE = {
    "JUPYTERLAB_SETTINGS_DIR": ".jupyterlab-settings",
    "JUPYTERLAB_WORKSPACES_DIR": ".jupyterlab-workspace",
}


def readable(text: str) -> bool:
    """Whether JupyterLab can read it: JSON, or JSON with comments and the like (JSON5)."""
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        # seldom needed, and slow to import
        import json5

        try:
            return isinstance(json5.loads(text), dict)
        except ValueError:
            return False


def set_aside_unreadable(folder: Path, suffix: str) -> list[Path]:
    """Rename the files that cannot be read; returns the new names. Never raises OSError."""
    renamed = []
    for file in folder.rglob(f"*{suffix}"):
        try:
            if file.is_file() and not readable(file.read_text(encoding="utf-8", errors="replace")):
                renamed.append(file.replace(file.with_name(f"{file.name}.broken")))
        except OSError as error:
            print(f"start-server: {file}: {error}", file=sys.stderr)
    return renamed


def take_up_layout() -> None:
    """What JupyterLab had open before a reset; whatever goes wrong, the server starts."""
    try:
        from server_ext.reset.layout import take_up

        take_up(Path.home() / "work" / ".gpucamp", os.environ)
    except Exception as error:  # nothing is worth a server that does not start
        print(f"start-server: the layout was not taken up: {error!r}", file=sys.stderr)


def main() -> None:
    take_up_layout()
    for variable, suffix in READ_BY_THE_PAGE.items():
        folder = Path(os.environ[variable])
        for file in set_aside_unreadable(folder, suffix):
            print(f"start-server: set an unreadable file aside: {file}", file=sys.stderr)

    from jupyterhub.singleuser import main as serve

    serve()


if __name__ == "__main__":
    main()
