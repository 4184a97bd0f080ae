"""The service's last word on this server's lease, shared by all who ask.

Guarantees: the service is asked at most once every FRESH_SECONDS for a language however many tabs
poll, and less often while it does not answer; no failure of it is an error here; an answer to an
earlier question never replaces what a later change (an extension, say) brought.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from .. import i18n
from ..errors import GpucampServerError
from ..service_client import Answer, ServiceClient
from .view import NOTHING, Json, reduce

FRESH_SECONDS = 5.0
RETRY_SECONDS = 15.0  # after a failure
# The service's clock is read from a header with whole seconds; less is no difference.
SAME_CLOCK = timedelta(seconds=2)


@dataclass(frozen=True)
class Reading:
    """`view` as view.reduce makes it; `fresh` is False where the service did not answer, and the
    view is its last one.
    """

    view: Json
    fresh: bool


@dataclass(frozen=True)
class _Kept:
    view: Json
    until: float  # monotonic seconds


class LeaseReadings:
    """One for the server."""

    def __init__(self) -> None:
        self._asking = asyncio.Lock()
        self._kept: dict[str, _Kept] = {}  # by language: reasons and notices are texts
        self._last: Json = NOTHING
        self._silent_until = 0.0
        self._changes = 0
        self._skew = timedelta(0)

    def now(self) -> datetime:
        """The time by the service's clock, by which leases end."""
        return datetime.now(UTC) + self._skew

    async def read(self, client: ServiceClient) -> Reading:
        """A view of at most FRESH_SECONDS ago, or the last one. Never raises a domain error."""
        language = _catalogue(client.language)
        async with self._asking:
            now = time.monotonic()
            kept = self._kept.get(language)
            if kept is not None and now < kept.until:
                return Reading(kept.view, True)
            if now < self._silent_until:
                return Reading(self._last, False)
            changes = self._changes
            try:
                answer = await client.call("GET", "")
            except GpucampServerError:
                self._silent_until = time.monotonic() + RETRY_SECONDS
                return Reading(self._last, False)
            if changes == self._changes:
                self._keep(language, answer)
            return Reading(self._last, True)

    async def change(
        self, client: ServiceClient, action: str, body: dict[str, object] | None = None
    ) -> Reading:
        """Ask the service for a change; what the lease is after it. Raises domain errors."""
        answer = await client.call("POST", action, body)
        self._changes += 1
        self._kept.clear()
        if "lease" not in answer.body:
            return await self.read(client)
        self._keep(_catalogue(client.language), answer)
        return Reading(self._last, True)

    def _keep(self, language: str, answer: Answer) -> None:
        self._silent_until = 0.0
        self._last = reduce(answer.body)
        self._kept[language] = _Kept(self._last, time.monotonic() + FRESH_SECONDS)
        if answer.date is not None:
            skew = answer.date + timedelta(seconds=0.5) - datetime.now(UTC)
            self._skew = skew if abs(skew) > SAME_CLOCK else timedelta(0)


def _catalogue(language: str) -> str:
    """The language that the service will answer in, so that a made-up one is not a new question."""
    name = i18n.normalise(language)
    return name if i18n.has_catalogue(name) else i18n.ENGLISH
