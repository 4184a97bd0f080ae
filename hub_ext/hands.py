"""A raised hand: somebody asks for help. One per user at most."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

LONGEST_TEXT = 200


@dataclass(frozen=True, slots=True)
class Hand:
    """Up since `raised_at`; what is said with it may change meanwhile."""

    user: str
    server: str  # the one that the help is about
    raised_at: datetime
    text: str = ""
    groups: tuple[str, ...] = ()  # of its user, when it was raised
