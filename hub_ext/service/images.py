"""Images for servers: which there are, which new servers get, and who runs which.

Guarantees: only an image that is on the Engine, and says that it is for servers
(hub_ext/images.py), can be pinned, besides the one that is configured; only what is in a repository
that the configuration names is pulled; servers that run keep what they have. Whoever asks is told
what the Engine and the ledger say now; without an answer of the Engine nothing is told and nothing
is pinned.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Protocol

from ..errors import BadRequest, Conflict, ImageUnfit, NotFound
from ..i18n import N_, _
from ..images import (
    ImageFact,
    ImagePin,
    ImagePull,
    familiar,
    find,
    fixed_name,
    is_for_servers,
    is_id,
    is_named,
    is_told,
    repository_by_digest,
    repository_of,
)
from ..ledger import Ledger
from .image_pulls import ImagePulls

UNFIT = N_(
    "This image does not say that it is for gpucamp's servers (it has no label gpucamp.image), and"
    " servers would not start from it. Build it on gpucamp's image, or with that label if it starts"
    " JupyterLab for JupyterHub by itself, and pull it again."
)
TOLD = timedelta(days=1)  # how long a pull that has ended is told of in the list


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
    pull: ImagePull | None = None  # the last one, if it is under way or of the last day

    @property
    def for_servers(self) -> bool | None:
        """Whether servers can run from it; None: only its arrival on the Engine will tell."""
        if self.configured:
            return True  # whoever configures it answers for it
        return None if self.fact is None else is_for_servers(self.fact)


@dataclass(frozen=True, slots=True)
class _Said:
    """What is configured, what is pinned in its place, and the pulls of the last day, by image."""

    configured: str
    pin: ImagePin | None
    pulls: Mapping[str, ImagePull]


class Images:
    """Of one hub. `usual` is the configured image if no hub has said one, `repositories` are those
    that the configuration allows beside its own."""

    def __init__(
        self,
        ledger: Ledger,
        engine: ImageEngine,
        pulls: ImagePulls,
        usual: str,
        repositories: Sequence[str],
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.pulls = pulls
        self._ledger = ledger
        self._engine = engine
        self._now = now
        self._usual = usual
        self._allowed = frozenset(map(familiar, repositories))

    async def known(self) -> tuple[KnownImage, ...]:
        """Those for servers, what else is of these repositories, what is in force, and what was
        pulled, or should have been, during the last day, there or not; by name.

        Raises EngineUnavailable, EngineRefused, LedgerUnavailable.
        """
        facts = await self._engine.images()
        said = await self._said()
        configured, pin = said.configured, said.pin
        repositories = self._repositories(configured)
        found = {
            each.id: KnownImage(fixed_name(each, repositories), each)
            for each in facts
            if is_told(each, repositories)
        }
        missing = {}
        in_use = {configured, pin.image if pin is not None else ""} - {""}
        for name in in_use.union(said.pulls):
            fact = find(facts, name)
            if fact is None:
                missing[name] = KnownImage(name, None)
            elif fact.id not in found and name in in_use:
                found[fact.id] = KnownImage(fixed_name(fact, repositories), fact)
        now = [*found.values(), *missing.values()]
        told = (_told(each, said) for each in now)
        return tuple(sorted(told, key=lambda each: each.name))

    async def one(self, name: str) -> KnownImage:
        """By the name to pin it by, its id, or another of its digests. Raises NotFound, BadRequest
        for what is no such name, and as `known`."""
        _repository(name)
        for each in await self.known():
            if each.name == name or (each.fact is not None and is_named(each.fact, name)):
                return each
        raise NotFound(_("There is no such image among those for servers."))

    async def pin(self, name: str, reason: str, now: datetime, *, by: str) -> KnownImage:
        """Give it to new servers; the configured one takes the pin away. Raises as `one`, Conflict
        if it is not on the Engine, ImageUnfit if it is not for servers."""
        found = await self.one(name)
        if found.fact is None:
            raise Conflict(_("This image is not on the Docker Engine. Pull it first."))
        if not found.for_servers:
            raise ImageUnfit(_(UNFIT))
        configured = (await self._said()).configured
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

    async def pull(self, name: str, reason: str, *, by: str) -> ImagePull:
        """Begin to pull repository@sha256:…, or tell of the pull of it that is under way.

        Raises BadRequest for what is no such name, Conflict if it may not be pulled or too many
        are, LedgerUnavailable.
        """
        repository = _repository(name)
        if repository is None:
            raise Conflict(
                _(
                    "An image is pulled by its digest in a repository, repository@sha256:…; its id"
                    " is known on its own host only."
                )
            )
        allowed = self._repositories((await self._said()).configured)
        if repository not in allowed:
            raise Conflict(
                _(
                    "Images come from these repositories only: {names}. An admin adds others to"
                    " c.GpucampService.image_repositories."
                ).format(names=", ".join(sorted(allowed)) or "-")
            )
        return await self.pulls.begin(name, reason, by=by)

    async def last_pull(self, name: str) -> ImagePull:
        """The pull of repository@sha256:… that is under way, else the last one. Raises BadRequest,
        NotFound, LedgerUnavailable."""
        _repository(name)
        found = await asyncio.to_thread(self._ledger.image_pull_of, name)
        if found is None:
            raise NotFound(_("This image was never pulled, or long ago."))
        return found

    def _repositories(self, configured: str) -> frozenset[str]:
        own = repository_of(configured)
        return self._allowed if own is None else self._allowed | {own}

    async def _said(self) -> _Said:
        def read() -> _Said:
            configured = self._ledger.configured_image() or self._usual
            pulls = self._ledger.image_pulls(self._now() - TOLD)
            return _Said(
                configured,
                self._ledger.image_pin(configured),
                {each.image: each for each in pulls},
            )

        return await asyncio.to_thread(read)


def _told(found: KnownImage, said: _Said) -> KnownImage:
    configured, pin = said.configured, said.pin

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
        pull=next((pull for name, pull in said.pulls.items() if means(name)), None),
    )


def _repository(name: str) -> str | None:
    """Of a digest; None for an id. Raises BadRequest for any other name."""
    repository = repository_by_digest(name)
    if repository is None and not is_id(name):
        raise BadRequest(
            _(
                "An image is named by its digest, repository@sha256:…, or by its id, sha256:…;"
                " a tag may mean another image tomorrow."
            )
        )
    return repository
