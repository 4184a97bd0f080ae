"""The containers and volumes of this hub, as the service needs them from the Docker Engine.

Guarantees: only containers that carry this hub's id are ever seen or removed; the only volumes
that can be removed are generations of environments, never work.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass

from ..container_args import (
    GENERATION_LABEL,
    HUB_LABEL,
    LEASE_LABEL,
    SERVER_LABEL,
    USER_LABEL,
    VOLUME_LABEL,
    reader_request,
)
from ..engine import ContainerFacts, EngineClient, VolumeSize
from ..errors import NotFound
from ..i18n import _
from ..images import ImageFact
from ..reconcile import ContainerFact
from ..space import VolumeFact
from ..volumes import PREFIX, environment_volume


@dataclass(frozen=True, slots=True)
class HubContainers:
    """`hub_id` is that of the ledger; it is read when first needed (the ledger may be away)."""

    client: EngineClient
    hub_id: Callable[[], str]
    prefix: str = PREFIX

    async def containers(self) -> tuple[ContainerFact, ...]:
        """All of this hub, running or not. Raises EngineUnavailable, EngineRefused."""
        found = await self.client.containers({HUB_LABEL: self.hub_id()})
        return tuple(_fact(each) for each in found)

    async def images(self) -> tuple[ImageFact, ...]:
        """All on the Engine. Raises EngineUnavailable, EngineRefused."""
        return await self.client.images()

    async def remove(self, container_id: str) -> None:
        """Returns when it is gone. Raises EngineUnavailable, EngineRefused."""
        await self.client.remove(container_id)

    async def volumes(self) -> tuple[VolumeFact, ...]:
        """All of this hub with their sizes; takes as long as reading through them. Raises
        EngineUnavailable, EngineRefused.
        """
        found = await self.client.volume_sizes({HUB_LABEL: self.hub_id()})
        facts = (_volume_fact(each) for each in found)
        return tuple(fact for fact in facts if fact is not None)

    async def start_reader(
        self, user: str, server: str, generation: int, image: str, seconds: int
    ) -> str:
        """A container that may read one generation, for so many seconds; its id. Raises NotFound
        where the volume is gone, ImageMissing, EngineUnavailable, EngineRefused.
        """
        volume = environment_volume(user, server, generation, prefix=self.prefix)
        if not await self.client.volume_exists(volume):
            gone = _("The files of generation {number} are gone.")
            raise NotFound(gone.format(number=generation))
        name = f"{self.prefix}-reader-{secrets.token_hex(8)}"
        request = reader_request(volume, image, self.hub_id(), seconds)
        made = await self.client.create(name, request)
        try:
            await self.client.start(made)
        except BaseException:
            await asyncio.shield(self.client.remove(made))
            raise
        return made

    async def remove_environment(self, user: str, server: str, generation: int) -> None:
        """Delete the volume of one generation; it may be gone. Raises as above."""
        name = environment_volume(user, server, generation, prefix=self.prefix)
        await self.client.remove_volume(name)


def _volume_fact(found: VolumeSize) -> VolumeFact | None:
    labels = found.labels
    generation = labels.get(GENERATION_LABEL, "")
    match labels.get(VOLUME_LABEL):
        case "work":
            environment = None
        case "environment" if generation.isdigit():
            environment = (labels.get(SERVER_LABEL, ""), int(generation))
        case _:
            return None
    return VolumeFact(labels.get(USER_LABEL, ""), found.size, environment)


def _fact(found: ContainerFacts) -> ContainerFact:
    generation = found.labels.get(GENERATION_LABEL, "")
    return ContainerFact(
        id=found.id,
        lease_id=found.labels.get(LEASE_LABEL, ""),
        user=found.labels.get(USER_LABEL, ""),
        server=found.labels.get(SERVER_LABEL, ""),
        running=found.running,
        generation=int(generation) if generation.isdigit() else 0,
        image=found.image,
        image_id=found.image_id,
    )
