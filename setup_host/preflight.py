"""Whether the host can do it, before anything is downloaded.

Guarantees: decisions (`check_*`) are pure; what is missing is named together with the remedy.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

from .errors import SetupError
from .processes import command_of

IMAGE_BYTES = 20 * 10**9
TOOLS_BYTES = 3 * 10**9


def check_python(version: tuple[int, ...]) -> None:
    """Raises SetupError where the interpreter is too old."""
    if version < (3, 11):
        shown = ".".join(str(part) for part in version[:3])
        raise SetupError(
            f"This is Python {shown}; gpucamp needs 3.11 or newer.",
            "install one, and name it: `make run PYTHON=python3.12`.",
        )


def check_node(output: str | None) -> None:
    """Judge what `node --version` printed (None: there is no node).

    The bundler of the front end needs ^20.19 or >= 22.12. Raises SetupError.
    """
    remedy = "install Node.js 20.19 or newer, or 22.12 or newer (nodejs.org, or your distribution)."
    if output is None:
        raise SetupError("There is no `node` on the PATH.", remedy)
    match = re.match(r"v(\d+)\.(\d+)", output.strip())
    if match is None:
        raise SetupError(f"`node --version` says {output.strip()!r}.", remedy)
    major, minor = int(match[1]), int(match[2])
    if (major, minor) < (20, 19) or major == 21 or (major == 22 and minor < 12):
        raise SetupError(
            f"Node.js {output.strip()} is too old for the front end's bundler.", remedy
        )


def check_space(free: int, needed: int, folder: str, what: str) -> None:
    """Raises SetupError where `free` bytes are fewer than `needed`."""
    if free < needed:
        raise SetupError(
            f"{what} needs about {needed / 1e9:.0f} GB free in {folder}; "
            f"there are {free / 1e9:.1f} GB.",
            "make room there (`docker system df` and `df -h` show what takes it), or move Docker's "
            "data to a larger disk.",
        )


def python() -> None:
    """Check the interpreter that runs this."""
    check_python(tuple(sys.version_info[:3]))


def node() -> None:
    """Check node and npm."""
    if shutil.which("node") is None:
        check_node(None)
    result = subprocess.run(["node", "--version"], capture_output=True, text=True, timeout=30)
    check_node(result.stdout)
    if shutil.which("npm") is None:
        raise SetupError(
            "There is no `npm` on the PATH.", "install npm (on Debian: `apt-get install npm`)."
        )


def space(folder: Path, needed: int, what: str) -> None:
    """Check the disk that holds a folder (or its nearest existing parent)."""
    while not folder.exists():
        folder = folder.parent
    check_space(shutil.disk_usage(folder).free, needed, str(folder), what)


def port_owner(port: int, root: Path = Path("/proc")) -> str | None:
    """Who listens on a TCP port: `process 123 (command)`; None where it cannot be told."""
    inodes = set()
    for table in ("net/tcp", "net/tcp6"):
        try:
            lines = (root / table).read_text(encoding="ascii").splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port:
                inodes.add(f"socket:[{fields[9]}]")
    if not inodes:
        return None
    for entry in root.iterdir():
        if not entry.name.isdigit():
            continue
        try:
            if any(os.readlink(handle) in inodes for handle in (entry / "fd").iterdir()):
                return f"process {entry.name} ({command_of(int(entry.name)) or 'unknown'})"
        except OSError:
            continue
    return None


def port_free(address: str, port: int, setting: str) -> None:
    """Check that a port can be listened on. Raises SetupError, saying by whom it is taken."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except PermissionError:
            raise SetupError(
                f"Port {port} may only be used by root.", f"set {setting} to 1024 or higher."
            ) from None
        except OSError as error:
            owner = port_owner(port)
            if error.errno == errno.EADDRNOTAVAIL:
                raise SetupError(
                    f"{address} is no address of this host ({error.strerror}).",
                    "the Docker Engine must run on this host, and not rootless.",
                ) from None
            raise SetupError(
                f"Port {port} on {address} is taken"
                + (f" by {owner}." if owner else "; by whom cannot be told without root."),
                f"end that program, or choose another port: `{setting}=8090 make run`.",
            ) from None
