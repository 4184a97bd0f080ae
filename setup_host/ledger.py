"""The ledger: made or brought up to date before the hub starts.

Guarantees: the hub's id, which labels its containers and volumes, is kept in the state folder as
soon as there is one, so that `stop` and `clean` know them without the ledger.
"""

from __future__ import annotations

import os
import subprocess

from . import stamps
from .environment import tool_environ
from .errors import SetupError
from .settings import Settings

_CODE = """
import sys
from hub_ext.ledger import Ledger
ledger = Ledger(sys.stdin.read())
ledger.migrate()
print(ledger.hub_id())
ledger.close()
"""


_IMAGES_CODE = """
import sys
from hub_ext.ledger import Ledger
url, last = sys.stdin.read().split(chr(10))
ledger = Ledger(url)
print(ledger.configured_image() or last)
print(ledger.image_in_force(last))
ledger.close()
"""


def ensure(settings: Settings) -> str:
    """Make or update the ledger; the hub's id. Raises SetupError."""
    settings.hub_folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    old_mask = os.umask(0o077)
    try:
        # the URL may hold a password: not on the command line
        result = subprocess.run(
            [settings.python, "-c", _CODE],
            input=settings.ledger_url,
            capture_output=True,
            text=True,
            timeout=120,
            env=tool_environ(settings, os.environ),
            cwd=settings.root,
        )
    finally:
        os.umask(old_mask)
    if result.returncode != 0:
        raise SetupError(
            "The ledger cannot be opened.",
            "check GPUCAMP_LEDGER_URL; for PostgreSQL, that the server answers and the database "
            "exists.",
            "\n".join(result.stderr.strip().splitlines()[-6:]),
        )
    identity = result.stdout.strip()
    stamps.write(settings.state / "hub-id", identity)
    return identity


def images_for_servers(settings: Settings, last: str) -> tuple[str, ...] | None:
    """The names of the images that servers are configured to get, and do get; `last` is that of the
    last set-up. None if the ledger cannot say it; it is neither made nor changed."""
    file = settings.ledger_url.removeprefix("sqlite:///")
    if file != settings.ledger_url and not os.path.exists(file):
        # before the first run there is nothing to know; later it lies elsewhere
        return None if hub_id(settings) else ()
    try:
        result = subprocess.run(
            [settings.python, "-c", _IMAGES_CODE],
            input=f"{settings.ledger_url}\n{last}",
            capture_output=True,
            text=True,
            timeout=60,
            env=tool_environ(settings, os.environ),
            cwd=settings.root,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    if result.returncode != 0:
        return None
    return tuple(filter(None, result.stdout.splitlines()))


def hub_id(settings: Settings) -> str:
    """The id that labels this installation's containers and volumes; empty before its first run."""
    return stamps.read(settings.state / "hub-id")
