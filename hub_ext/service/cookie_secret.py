"""The secret that signs cookies, kept in a file.

Guarantees: only its owner can read the file (mode 600); a file that is too short, left by a full
disk, is replaced, since anyone could guess it.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from pathlib import Path

LENGTH = 32  # bytes


def cookie_secret(file: str) -> bytes:
    """The secret in the file, made where there is none; "" gives one that is kept nowhere.

    Raises OSError.
    """
    if not file:
        return secrets.token_bytes(LENGTH)
    path = Path(file)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        kept = path.read_bytes()
        if len(kept) >= LENGTH:
            return hashlib.sha256(kept).digest()
        path.unlink()
        return cookie_secret(file)
    with os.fdopen(handle, "wb") as made:
        made.write(secrets.token_bytes(LENGTH))
    return cookie_secret(file)
