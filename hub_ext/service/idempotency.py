"""Requests with an Idempotency-Key: done once, however often they come.

Guarantees, for the same key of the same caller:

- the same request gets the answer of the first one, for a day, also after a restart;
- while the first is under way, it is told so (409), and nothing is done twice;
- another request is refused (422);
- a request that was refused or failed with an error has done nothing that must not be done again:
  its key is free;
- a request that was cut off (the service was killed, the ledger away at the end) is told so (409):
  whether it was done is not known, and it is not done again. Another key is another request.

There is one service per ledger, so what is under way is in its memory.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from ..errors import BadRequest, Conflict, GpucampError
from ..i18n import _
from ..ledger import Ledger
from ..models import KeptAnswer

HEADER = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"
FORM = re.compile(r'"([!#-~]{1,253})"|([!#-~]{1,255})')

_log = logging.getLogger(__name__)


class KeyInUse(Conflict):
    """The first request with this key is under way."""


class OutcomeUnknown(Conflict):
    """The first request with this key was cut off."""


class KeyReused(GpucampError):
    """The key was used for another request."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A successful answer, as it is sent."""

    status: int
    body: str


class Claim:
    """A request that is under way; `keep` or `release` ends it, `leave` if neither can."""

    def __init__(self, requests: Requests, caller: str, key: str) -> None:
        self._requests, self._of = requests, (caller, key)

    async def keep(self, answer: Answer) -> None:
        """It was done."""
        ledger = self._requests.ledger
        try:
            await asyncio.to_thread(ledger.keep_answer, *self._of, answer.status, answer.body)
        except GpucampError as error:
            # it was done all the same; who asks again is told that it is not known
            _log.warning("The answer to a request with a key could not be kept: %s", error)

    async def release(self) -> None:
        """It was refused."""
        try:
            await asyncio.to_thread(self._requests.ledger.forget_request, *self._of)
        except GpucampError as error:
            _log.warning("The key of a request could not be given free: %s", error)

    def leave(self) -> None:
        """It is not under way any more."""
        self._requests.under_way.pop(self._of, None)


class Requests:
    """Requests with a key; make one per service."""

    def __init__(self, ledger: Ledger, now: Callable[[], datetime]) -> None:
        self.ledger, self._now = ledger, now
        self.under_way: dict[tuple[str, str], str] = {}

    async def begin(self, caller: str, key: str, request: str) -> Claim | Answer:
        """A claim, for the first; its answer, for the same again.

        Raises KeyInUse, OutcomeUnknown, KeyReused, LedgerUnavailable.
        """
        of = (caller, key)
        if of in self.under_way:
            _require_same(self.under_way[of], request)
            raise KeyInUse(_("The first request with this Idempotency-Key is still under way."))
        self.under_way[of] = request  # before the first await: two at once are seen
        claim = Claim(self, caller, key)
        known: KeptAnswer | None = None
        begun = False
        try:
            known = await asyncio.to_thread(
                self.ledger.begin_request, caller, key, request, self._now()
            )
            begun = known is None
        finally:
            if not begun:
                claim.leave()
        if known is None:
            return claim
        _require_same(known.request, request)
        if known.status is None:
            raise OutcomeUnknown(
                _(
                    "The first request with this Idempotency-Key was cut off, and it is not known "
                    "whether it was done. Look, and ask again with another key if it was not."
                )
            )
        return Answer(known.status, known.body)


def key_of(header: str) -> str:
    """The key in a header, with or without quotes around it. Raises BadRequest."""
    found = FORM.fullmatch(header)
    if found is None:
        raise BadRequest(
            _("Idempotency-Key must have 1 to 255 visible ASCII characters, such as a UUID.")
        )
    return found[1] or found[2]


def fingerprint(method: str, uri: str, body: bytes) -> str:
    """What makes two requests the same."""
    told = hashlib.sha256(f"{method} {uri}\n".encode())
    told.update(body)
    return told.hexdigest()


def _require_same(known: str, request: str) -> None:
    if known != request:
        raise KeyReused(
            _("This Idempotency-Key was used for another request. Take a new one for each request.")
        )
