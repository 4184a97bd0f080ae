"""The part of Ledger about raised hands."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime

from ..hands import Hand
from . import hands
from .database import Database


class HandStore:
    """One hand for each user."""

    _database: Database

    def raise_hand(
        self, user: str, server: str, text: str, groups: Collection[str], now: datetime
    ) -> Hand:
        """Raise a user's hand; one that is up stays up since when it is, with the new text."""
        with self._database.write() as connection:
            return hands.up(connection, user, server, text, groups, now)

    def lower_hand(self, user: str, now: datetime, *, actor: str) -> bool:
        """Lower it; `actor` did so. Whether it was up: to ask twice does no harm."""
        with self._database.write() as connection:
            return hands.down(connection, user, now, actor)

    def hand(self, user: str) -> Hand | None:
        """A user's hand, if it is up."""
        with self._database.read() as connection:
            return hands.read(connection, user)

    def hands(self) -> tuple[Hand, ...]:
        """All that are up, longest first."""
        with self._database.read() as connection:
            return hands.read_all(connection)

    def forget_hands(self, users: Iterable[str]) -> None:
        """These users are no more."""
        with self._database.write() as connection:
            hands.forget(connection, users)
