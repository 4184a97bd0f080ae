"""Names of a server's own files in the work folder, which all servers of a user share. Pure."""

from __future__ import annotations

import hashlib
from urllib.parse import quote


def mark(server: str) -> str:
    """What the name of such a file has in it: "" for the server without a name."""
    if not server:
        return ""
    name = quote(server, safe="")
    return f"-{name}" if len(name) < 100 else f"-{hashlib.sha256(name.encode()).hexdigest()}"
