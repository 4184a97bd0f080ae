"""What the service tells about raised hands, as JSON-ready values."""

from __future__ import annotations

from ..hands import Hand
from .lease_views import Json


def hand_view(found: Hand | None) -> Json | None:
    """A raised hand; `server` is the one that the help is about."""
    if found is None:
        return None
    return {
        "server": found.server,
        "raised_at": found.raised_at.isoformat(),
        "text": found.text,
    }
