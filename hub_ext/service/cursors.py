"""Cursors of lists: where a page ended, sealed so that only this service's own are taken. Pure.

Guarantees: a cursor belongs to one list with the same filters, and to this version of gpucamp; one
from elsewhere, or of which a letter was changed, is a BadCursor. It tells nothing that the page
before did not, and gives no right: each page is asked for with the caller's own scopes.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence

from .. import __version__
from ..errors import BadRequest
from ..i18n import _

LONGEST = 4096  # a user and a server with the longest names that JupyterHub keeps, in any script
_MAC_BYTES = 16

Key = list[str | int]  # where a page ended


class BadCursor(BadRequest):
    """The cursor is of another list, or of none."""


def seal(secret: bytes, path: str, filters: Mapping[str, str], key: Sequence[str | int]) -> str:
    """The cursor for the page after `key` in the list at `path`."""
    place = json.dumps(list(key), ensure_ascii=False, separators=(",", ":")).encode()
    bound = json.dumps([__version__, path, sorted(filters.items())]).encode()
    # the length first: no two pairs of (bound, place) are the same bytes
    told = b"%d:%s%s" % (len(bound), bound, place)
    mac = hmac.new(secret, b"gpucamp cursor:" + told, hashlib.sha256).digest()[:_MAC_BYTES]
    return base64.urlsafe_b64encode(mac + place).decode().rstrip("=")


def opened(secret: bytes, path: str, filters: Mapping[str, str], cursor: str) -> Key:
    """Where the page before ended. Raises BadCursor."""
    try:
        if len(cursor) > LONGEST or not cursor.isascii():
            raise ValueError
        raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        key = json.loads(raw[_MAC_BYTES:])
        if isinstance(key, list) and hmac.compare_digest(seal(secret, path, filters, key), cursor):
            return key
    except (ValueError, RecursionError):
        pass
    raise BadCursor(
        _(
            "The cursor is not of this list with these filters. Take it from `next` of the page "
            "before, and change nothing but limit; or begin anew, without a cursor."
        )
    )
