"""A Docker Engine in memory, for processes that are simulated (simulated_process.py).

It holds containers with labels and the devices that they were given. A client's call waits in its
process until a test lets it end, in one of these ways:

- OK: the effect, and the reply;
- ERROR: no effect, and an error 500 (a state is UNKNOWN, a list fails);
- LOST: the effect, but the reply is lost, which the client cannot tell from ERROR.

A call that nobody ends hangs. What a killed process had sent may take effect later (`in_flight`).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from simulated_process import Outcome, Process

from hub_ext.container_args import HUB_LABEL, LEASE_LABEL, SERVER_LABEL, USER_LABEL
from hub_ext.engine import ContainerState, Presence
from hub_ext.errors import EngineRefused, EngineUnavailable, NameTaken
from hub_ext.reconcile import ContainerFact


@dataclass
class Container:
    id: str
    name: str
    labels: Mapping[str, str]
    devices: tuple[str, ...]
    running: bool = False
    started: bool = False

    @property
    def lease_id(self) -> str:
        return self.labels.get(LEASE_LABEL, "")


@dataclass
class FakeEngine:
    """The Engine itself; it outlives hub and service. `away`: it does not answer anything."""

    containers: dict[str, Container] = field(default_factory=dict)
    away: bool = False
    in_flight: list[Callable[[], object]] = field(default_factory=list)
    _ids: Any = field(default_factory=lambda: itertools.count(1))

    def find(self, ref: str) -> Container | None:
        if ref in self.containers:
            return self.containers[ref]
        return next((each for each in self.containers.values() if each.name == ref), None)

    def create(self, name: str, request: Mapping[str, Any]) -> str:
        if self.find(name) is not None:
            raise NameTaken(f"the name {name} is in use", 409)
        made = Container(f"c{next(self._ids)}", name, request["Labels"], request["Devices"])
        self.containers[made.id] = made
        return made.id

    def start(self, ref: str) -> None:
        found = self.find(ref)
        if found is None:
            raise EngineRefused(f"no such container: {ref}", 404)
        found.running = found.started = True

    def stop(self, ref: str) -> None:
        found = self.find(ref)
        if found is not None:
            found.running = False

    def remove(self, ref: str) -> None:
        found = self.find(ref)
        if found is not None:
            del self.containers[found.id]

    def restart(self) -> None:
        """The daemon was started again: nothing runs, and what was stopped is still there."""
        for each in self.containers.values():
            each.running = False

    def running(self) -> list[Container]:
        return [each for each in self.containers.values() if each.running]


class FakeEngineClient:
    """What hub_ext/engine.py offers to lifecycle.py and the service, within one process."""

    def __init__(self, process: Process, engine: FakeEngine, hub_id: str) -> None:
        self._process = process
        self._engine = engine
        self._hub_id = hub_id

    async def _call(self, name: str, effect: Callable[[], Any]) -> Any:
        def run(outcome: Outcome) -> Any:
            if self._engine.away or outcome is Outcome.ERROR:
                raise EngineUnavailable("error 500")
            result = effect()
            if outcome is Outcome.LOST:
                raise EngineUnavailable("the reply was lost")
            return result

        return await self._process.call(name, run, late=self._engine.in_flight)

    async def state(self, ref: str) -> ContainerState:
        try:
            return await self._call("state", lambda: self._state(ref))
        except EngineUnavailable as error:
            return ContainerState(Presence.UNKNOWN, error=str(error))

    def _state(self, ref: str) -> ContainerState:
        found = self._engine.find(ref)
        if found is None:
            return ContainerState(Presence.GONE)
        presence = Presence.RUNNING if found.running else Presence.STOPPED
        return ContainerState(presence, id=found.id, name=found.name, labels=found.labels)

    async def create(self, name: str, request: Mapping[str, Any]) -> str:
        return await self._call("create", lambda: self._engine.create(name, request))

    async def start(self, ref: str) -> None:
        await self._call("start", lambda: self._engine.start(ref))

    async def stop(self, ref: str, grace: int) -> None:
        await self._call("stop", lambda: self._engine.stop(ref))

    async def remove(self, ref: str, *, within: float = 30) -> None:
        await self._call("remove", lambda: self._engine.remove(ref))

    async def containers(self) -> tuple[ContainerFact, ...]:
        return await self._call("list", self._list)

    def _list(self) -> tuple[ContainerFact, ...]:
        return tuple(
            ContainerFact(
                each.id,
                each.lease_id,
                each.labels.get(USER_LABEL, ""),
                each.labels.get(SERVER_LABEL, ""),
                each.running,
            )
            for each in self._engine.containers.values()
            if each.labels.get(HUB_LABEL) == self._hub_id
        )

    async def remove_environment(self, user: str, server: str, generation: int) -> None:
        return
