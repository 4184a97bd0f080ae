"""A ledger with two devices, and an Engine in memory that can be made to fail: for one server's
order of calls.

`Place.check` and `Place.nothing_left` are what must hold between the two.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hub_ext.container_args import HUB_LABEL, LEASE_LABEL
from hub_ext.engine import ContainerState, Presence
from hub_ext.errors import EngineRefused, EngineUnavailable, NameTaken
from hub_ext.hub_claim import HubClaim
from hub_ext.hub_side import HubSide
from hub_ext.inventory import practice_devices
from hub_ext.ledger import Ledger
from hub_ext.lifecycle import Lifecycle
from hub_ext.models import Request


def now() -> datetime:
    return datetime.now(UTC)


@dataclass
class FakeContainer:
    id: str
    name: str
    labels: Mapping[str, str]
    running: bool = False


@dataclass
class FakeEngine:
    """Containers in memory; each call takes a moment before and after its effect."""

    containers: dict[str, FakeContainer] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    away: bool = False
    lose_reply_of: str = ""
    refuse: dict[str, EngineRefused] = field(default_factory=dict)
    moment: float = 0.001
    ids: Any = field(default_factory=lambda: itertools.count(1))

    async def _call(self, name: str) -> None:
        self.calls.append(name)
        await asyncio.sleep(self.moment)
        if self.away:
            raise EngineUnavailable("away")
        if name in self.refuse:
            raise self.refuse.pop(name)

    async def _reply(self, name: str) -> None:
        await asyncio.sleep(self.moment)
        if self.lose_reply_of == name:
            self.lose_reply_of = ""
            raise EngineUnavailable("the reply was lost")

    def find(self, ref: str) -> FakeContainer | None:
        return next((c for c in self.containers.values() if ref in (c.id, c.name)), None)

    async def state(self, ref: str) -> ContainerState:
        try:
            await self._call("state")
        except EngineUnavailable as error:
            return ContainerState(Presence.UNKNOWN, error=str(error))
        found = self.find(ref)
        if found is None:
            return ContainerState(Presence.GONE)
        presence = Presence.RUNNING if found.running else Presence.STOPPED
        return ContainerState(presence, id=found.id, name=found.name, labels=found.labels)

    async def create(self, name: str, request: Mapping[str, Any]) -> str:
        await self._call("create")
        if self.find(name) is not None:
            raise NameTaken(name, 409)
        made = FakeContainer(f"id{next(self.ids)}", name, request["Labels"])
        self.containers[made.id] = made
        await self._reply("create")
        return made.id

    async def start(self, ref: str) -> None:
        await self._call("start")
        found = self.find(ref)
        assert found is not None
        found.running = True
        await self._reply("start")

    async def stop(self, ref: str, grace: int) -> None:
        await self._call("stop")
        found = self.find(ref)
        if found is not None:
            found.running = False

    async def remove(self, ref: str, *, within: float = 30) -> None:
        await self._call("remove")
        found = self.find(ref)
        if found is not None:
            del self.containers[found.id]
        await self._reply("remove")


@dataclass
class Place:
    """A ledger with two devices, an Engine, and servers on them."""

    side: HubSide
    engine: FakeEngine

    @property
    def ledger(self) -> Ledger:
        return self.side.ledger

    def life(self, user: str = "ada", **settings: Any) -> Lifecycle:
        return Lifecycle(self.side, user, "", f"gpucamp-{user}", **settings)

    async def start(self, life: Lifecycle, gpus: int = 1, user: str = "ada") -> None:
        await life.make_room()
        lease = await life.acquire(Request(user, "", gpus), limit=5, tell=lambda *_: None)
        labels = {HUB_LABEL: self.side.hub_id, LEASE_LABEL: lease.id}
        await life.run(lambda _limits: {"Labels": labels})
        await life.mark_running()

    def check(self) -> None:
        """Every container has a live lease, and no device two of them."""
        leases = self.ledger.leases()
        devices = [uuid for lease in leases for uuid in lease.device_uuids]
        assert len(devices) == len(set(devices))
        known = {lease.id for lease in leases}
        for container in self.engine.containers.values():
            assert container.labels.get(LEASE_LABEL) in known

    def nothing_left(self) -> None:
        assert self.ledger.leases() == ()
        assert self.ledger.queue() == ()
        assert self.engine.containers == {}


def new_place(folder: Path) -> Place:
    """With two devices that are free."""
    ledger = Ledger(f"sqlite:///{folder}/ledger.sqlite")
    ledger.migrate()
    ledger.record_inventory(practice_devices(2), now())
    engine = FakeEngine()
    return Place(HubSide(ledger, HubClaim(ledger), engine), engine)  # type: ignore[arg-type]  # has all it calls


async def soon(condition: Any) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - other tasks change it, and set no event
            await asyncio.sleep(0.01)
