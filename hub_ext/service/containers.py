"""The containers and volumes of this hub, as the service needs them from the Docker Engine.

Guarantees: only containers that carry this hub's id are ever seen or removed; the only volumes
that can be removed are generations of environments, never work.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..container_args import GENERATION_LABEL, HUB_LABEL, LEASE_LABEL, SERVER_LABEL, USER_LABEL
from ..engine import ContainerFacts, EngineClient
from ..reconcile import ContainerFact
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

    async def remove(self, container_id: str) -> None:
        """Returns when it is gone. Raises EngineUnavailable, EngineRefused."""
        await self.client.remove(container_id)

    async def remove_environment(self, user: str, server: str, generation: int) -> None:
        """Delete the volume of one generation; it may be gone. Raises as above."""
        name = environment_volume(user, server, generation, prefix=self.prefix)
        await self.client.remove_volume(name)


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
    )
