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


def hub_id(settings: Settings) -> str:
    """The id that labels this installation's containers and volumes; empty before its first run."""
    return stamps.read(settings.state / "hub-id")
