"""Names of containers and of work and environment volumes.

What this module guarantees, for arbitrary user and server names:

- Every name is valid for the Docker Engine ([a-zA-Z0-9][a-zA-Z0-9_.-]+) and no longer than 200
  characters, so no name can be a path, an option or a template.
- Two different (user, server, generation) never share a name. Escaping can be undone; only names
  too long for that end in 128 bits of SHA-256.
- Ordinary names stay readable: participant "ada" works in gpucamp-work-ada.
"""

from __future__ import annotations

import hashlib

PREFIX = "gpucamp"

_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyz0123456789")
_LONGEST = 63
_KEPT_OF_LONG = 28


def slug(text: str) -> str:
    """A user's or server's name as a part of Docker names.

    Lower-case letters, digits and single hyphens within stay; every other byte of the UTF-8 form
    becomes _xx. So a slug never starts or ends with a hyphen and never holds two in a row, which
    makes "--" and a final "-<number>" unmistakable in the names below.
    """
    escaped = _escape(text)
    if len(escaped) <= _LONGEST:
        return escaped
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]
    return f"{escaped[:_KEPT_OF_LONG].rstrip('-')}_z{digest}"  # _z begins no escape


def container_name(user: str, server: str, *, prefix: str = PREFIX) -> str:
    """The one container that a server has at a time."""
    return f"{prefix}-{_server_slug(user, server)}"


def work_volume(user: str, *, prefix: str = PREFIX) -> str:
    """A user's files, shared by all their servers. No reset touches it."""
    return f"{prefix}-work-{slug(user)}"


def environment_volume(user: str, server: str, generation: int, *, prefix: str = PREFIX) -> str:
    """One generation of a server's environment, mounted as its home."""
    return f"{prefix}-env-{_server_slug(user, server)}-{generation}"


def _server_slug(user: str, server: str) -> str:
    return f"{slug(user)}--{slug(server)}" if server else slug(user)


def _escape(text: str) -> str:
    if not text:
        return "_"
    raw = text.encode("utf-8", "surrogatepass")
    out: list[str] = []
    for place, byte in enumerate(raw):
        char = chr(byte)
        inner = 0 < place < len(raw) - 1
        if char in _PLAIN or (char == "-" and inner and out[-1] != "-"):
            out.append(char)
        else:
            out.append(f"_{byte:02x}")
    return "".join(out)
