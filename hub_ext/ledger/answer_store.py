"""The part of the ledger about requests with an Idempotency-Key."""

from __future__ import annotations

from datetime import datetime

from ..models import KeptAnswer
from . import kept_answers
from .database import Database


class AnswerStore:
    """Methods of Ledger; each is one transaction."""

    _database: Database

    def begin_request(
        self, caller: str, key: str, request: str, now: datetime
    ) -> KeptAnswer | None:
        """Write down that a caller's request is begun (None), or what is known of the key."""
        with self._database.write() as connection:
            return kept_answers.begin(connection, caller, key, request, now)

    def keep_answer(self, caller: str, key: str, status: int, body: str) -> None:
        """The answer to the request that was begun."""
        with self._database.write() as connection:
            kept_answers.keep(connection, caller, key, status, body)

    def forget_request(self, caller: str, key: str) -> None:
        """The request was refused: it may come again with this key."""
        with self._database.write() as connection:
            kept_answers.forget(connection, caller, key)

    def forget_old_requests(self, now: datetime) -> None:
        """Those whose time is over."""
        with self._database.write() as connection:
            kept_answers.forget_old(connection, now)
