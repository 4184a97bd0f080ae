"""Images for servers: which there are, which new servers get, and who runs which.

Guarantees: only an image that is on the Engine, and that servers may be given (hub_ext/images.py),
can be pinned; servers that run keep what they have. Whoever asks is told what the Engine and the
ledger say now; without an answer of the Engine nothing is told and nothing is pinned.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

from ..errors import BadRequest, Conflict, NotFound
from ..i18n import _
from ..images import (
    ImageFact,
    ImagePin,
    familiar,
    find,
    fixed_name,
    is_id,
    is_named,
    may_serve,
    repository_by_digest,
    repository_of,
)
from ..ledger import Ledger


class ImageEngine(Protocol):
    """What this module asks of the Docker Engine (service/containers.py)."""

    async def images(self) -> tuple[ImageFact, ...]: ...


@dataclass(frozen=True, slots=True)
class KnownImage:
    """An image by the name to pin it by. fact: None if it is not on the Engine."""

    name: str
    fact: ImageFact | None
    configured: bool = False
    in_force: bool = False  # new servers get it
    pin: ImagePin | None = None


class Images:
    """Of one hub. `usual` is the configured image if no hub has said one, `repositories` are those
    that the configuration allows beside its own."""

    def __init__(
        self, ledger: Ledger, engine: ImageEngine, usual: str, repositories: Sequence[str]
    ) -> None:
        self._ledger = ledger
        self._engine = engine
        self._usual = usual
        self._allowed = frozenset(map(familiar, repositories))

    async def known(self) -> tuple[KnownImage, ...]:
        """Those that servers may be given, and what is in force, there or not; by name.

        Raises EngineUnavailable, EngineRefused, LedgerUnavailable.
        """
        facts = await self._engine.images()
        configured, pin = await self._said()
        repositories = self._repositories(configured)
        found = {
            each.id: KnownImage(fixed_name(each, repositories), each)
            for each in facts
            if may_serve(each, repositories)
        }
        missing = {}
        for name in {configured, pin.image if pin is not None else configured} - {""}:
            fact = find(facts, name)
            if fact is None:
                missing[name] = KnownImage(name, None)
            elif fact.id not in found:
                found[fact.id] = KnownImage(fixed_name(fact, repositories), fact)
        now = [*found.values(), *missing.values()]
        told = (_told(each, configured, pin) for each in now)
        return tuple(sorted(told, key=lambda each: each.name))

    async def one(self, name: str) -> KnownImage:
        """By the name to pin it by, its id, or another of its digests. Raises NotFound, BadRequest
        for what is no such name, and as `known`."""
        repository = repository_by_digest(name)
        if not is_id(name) and repository is None:
            raise BadRequest(
                _(
                    "An image is named by its digest, repository@sha256:…, or by its id, sha256:…;"
                    " a tag may mean another image tomorrow."
                )
            )
        for each in await self.known():
            if each.name == name or (each.fact is not None and is_named(each.fact, name)):
                return each
        raise NotFound(_("There is no such image among those for servers."))

    async def pin(self, name: str, reason: str, now: datetime, *, by: str) -> KnownImage:
        """Give it to new servers; the configured one takes the pin away. Raises as `one`, and
        Conflict if it is not on the Engine."""
        found = await self.one(name)
        if found.fact is None:
            raise Conflict(_("This image is not on the Docker Engine. Pull it first."))
        configured, _pin = await self._said()
        image = configured if found.configured else found.name
        await asyncio.to_thread(self._ledger.pin_image, configured, image, reason, now, actor=by)
        return await self.one(name)

    async def unpin(self, name: str, reason: str, now: datetime, *, by: str) -> KnownImage:
        """Give new servers the configured image again, if this one is pinned. Raises as `one`."""
        found = await self.one(name)
        if found.pin is None:
            return found
        configured = found.pin.configured
        await asyncio.to_thread(
            self._ledger.pin_image, configured, configured, reason, now, actor=by
        )
        # it may be one that is not on the Engine, and not listed any more
        return replace(found, pin=None, in_force=found.configured)

    def _repositories(self, configured: str) -> frozenset[str]:
        own = repository_of(configured)
        return self._allowed if own is None else self._allowed | {own}

    async def _said(self) -> tuple[str, ImagePin | None]:
        """What is configured, and what is pinned in its place."""

        def read() -> tuple[str, ImagePin | None]:
            configured = self._ledger.configured_image() or self._usual
            return configured, self._ledger.image_pin(configured)

        return await asyncio.to_thread(read)


def _told(found: KnownImage, configured: str, pin: ImagePin | None) -> KnownImage:
    def means(reference: str) -> bool:
        if found.fact is None:
            return reference == found.name
        return is_named(found.fact, reference)

    pinned = pin is not None and means(pin.image)
    return replace(
        found,
        configured=means(configured),
        in_force=pinned or (pin is None and means(configured)),
        pin=pin if pinned else None,
    )
