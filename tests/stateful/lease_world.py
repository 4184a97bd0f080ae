"""Hub, service and Engine on one real ledger, in one thread and in the test's own time.

Real are the ledger (SQLite), lifecycle.py, hub_side.py, queue_keeper.py, the queue and placement,
the service's monitor (with reconcile.py), its resets, its terms loop (with terms.py) and its
revival of interrupted starts: all run in simulated processes (tests/fakes/simulated_process.py).
Modelled are:

- the Engine (tests/fakes/fake_engine_world.py);
- JupyterHub, as `Hub`: the order of calls of spawner.py at a start, a stop and a poll, what it
  remembers over a restart, and its REST API as far as the service uses it;
- the inventory: the test says what a scan finds.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from fake_engine_world import FakeEngine, FakeEngineClient
from simulated_process import Call, Clock, Outcome, Process

from hub_ext import fair_queue, hub_side, lifecycle
from hub_ext.container_args import HUB_LABEL, LEASE_LABEL, SERVER_LABEL, USER_LABEL
from hub_ext.engine import Presence
from hub_ext.errors import GpucampError, HubRefused, HubUnavailable, LedgerUnavailable
from hub_ext.hub_side import HubSide
from hub_ext.ledger import Ledger, grants
from hub_ext.lifecycle import Lifecycle
from hub_ext.models import Device, Key, Lease, OperationKind, Request, Snapshot
from hub_ext.queue_keeper import QueueKeeper
from hub_ext.service.hub_api import HubServer
from hub_ext.service.monitor import Monitor
from hub_ext.service.reset import ResetWorkflow
from hub_ext.service.revival import Revival
from hub_ext.service.terms_loop import TermsLoop

BEGAN = datetime(2026, 1, 1, 20, tzinfo=UTC)
START_TIMEOUT = 300.0
QUEUE_TIMEOUT = 4 * 3600.0


class _ServerStopped(Exception):
    """The container ended before its server answered."""


@dataclass
class Server:
    """A server that JupyterHub takes for started, or for being started or stopped."""

    key: Key
    request: Request
    phase: str  # spawn, running, stop
    life: Lifecycle | None = None
    task: asyncio.Task[None] | None = None


class World:
    """Everything, and the switch for each part of it."""

    def __init__(self, ledger: Ledger) -> None:
        self.clock = Clock()
        self.ledger = ledger
        self.engine = FakeEngine()
        self.hub: Hub | None = None
        self.service: Service | None = None
        self.remembered: dict[Key, tuple[str, Request]] = {}  # JupyterHub's own database
        self.seen: dict[str, Device] = {}  # by the last scan
        self.after_call: Callable[[], None] = lambda: None
        self.on_grant: Callable[[Snapshot, Request, tuple[str, ...]], None] = lambda *_all: None
        self.after_look: Callable[[Service, datetime, tuple[Lease, ...]], None] = lambda *_a: None
        self.runs = itertools.count(1)
        self._patch = pytest.MonkeyPatch()
        names = itertools.count(1)
        self._patch.setattr(lifecycle, "_now", lambda: self.now)
        self._patch.setattr(hub_side, "time", SimpleNamespace(monotonic=lambda: self.clock.seconds))
        self._patch.setattr(ledger, "snapshot", self._snapshot)
        self._patch.setattr(lifecycle, "grant", self._grant)
        self._patch.setattr(
            grants, "uuid", SimpleNamespace(uuid4=lambda: SimpleNamespace(hex=f"L{next(names):05}"))
        )
        self._quiet = [(log, log.level) for log in map(logging.getLogger, ("gpucamp", "hub_ext"))]
        for log, _level in self._quiet:
            log.setLevel(logging.CRITICAL + 1)

    def close(self) -> None:
        for each in self.processes():
            each.kill()
        self._patch.undo()
        for log, level in self._quiet:
            log.setLevel(level)

    def _snapshot(self, now: datetime | None = None) -> Any:
        return Ledger.snapshot(self.ledger, now or self.now)

    def _grant(self, seen: Snapshot, request: Request) -> tuple[str, ...] | None:
        chosen = fair_queue.grant(seen, request)
        if chosen is not None:
            self.on_grant(seen, request, chosen)
        return chosen

    @property
    def now(self) -> datetime:
        return BEGAN + timedelta(seconds=self.clock.seconds)

    # -- processes

    def processes(self) -> list[Process]:
        return [each.process for each in (self.hub, self.service) if each is not None]

    def start_hub(self) -> None:
        if self.hub is None:
            self.hub = Hub(self)
            self.hub.process.run_ready()

    def kill_hub(self, committed: bool) -> None:
        if self.hub is not None:
            self.hub.process.kill(committed=committed)
            self.hub = None

    def start_service(self) -> None:
        if self.service is None:
            self.service = Service(self)
            self.service.process.run_ready()

    def kill_service(self, committed: bool) -> None:
        if self.service is not None:
            self.service.process.kill(committed=committed)
            self.service = None

    def finish(self, process: Process, call: Call, outcome: Outcome = Outcome.OK) -> None:
        """Let one call end."""
        process.finish(call, outcome)
        for each in self.processes():
            if each.unexpected:
                raise each.unexpected[0]
        self.after_call()

    def settle(self, most: int = 200) -> None:
        """Let everything that waits for a call go on, until all wait for time (or `most` calls)."""
        for _ in range(most):
            waiting = [(each, each.calls[0]) for each in self.processes() if each.calls]
            if not waiting:
                return
            for process, call in waiting:
                if process.alive and call in process.calls:
                    self.finish(process, call)

    def time_passes(self, seconds: float) -> None:
        self.clock.seconds += seconds
        for each in self.processes():
            each.run_ready()

    # -- the outside

    def inventory(self, found: Iterable[Device]) -> None:
        """A scan of the service."""
        devices = tuple(found)
        self.ledger.record_inventory(devices, self.now)
        self.seen = {each.uuid: each for each in devices}


class Hub:
    """A process of JupyterHub with the spawner's parts. What it remembers is World.remembered."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.process = Process(world.clock, lambda: LedgerUnavailable("it is away"))
        run = f"run{next(world.runs)}"
        world.ledger.begin_run(run, world.now)
        self.keeper = QueueKeeper(world.ledger, run)
        engine = FakeEngineClient(self.process, world.engine, world.ledger.hub_id())
        self.side = HubSide(
            world.ledger,
            None,  # type: ignore[arg-type]  # the claim is tested on its own
            engine,  # type: ignore[arg-type]  # it has what the parts under test call
            run=run,
            waiting=self.keeper.waiting,
            starts_at_once=2,
        )
        self.servers: dict[Key, Server] = {}
        for key, (container_id, request) in world.remembered.items():
            life = Lifecycle(self.side, *key, _name(key), container_id=container_id)
            self.servers[key] = Server(key, request, "running", life)
            self.poll(key)

    # -- what people and the service ask for

    def start(self, request: Request) -> bool:
        """False if the server runs, starts or stops already."""
        key = (request.user, request.server)
        if key in self.servers:
            return False
        server = self.servers[key] = Server(key, request, "spawn")
        server.task = self.process.spawn(self._spawn(server))
        return True

    def stop(self, key: Key) -> None:
        server = self.servers.get(key)
        if server is None or server.phase == "stop":
            return
        if server.phase == "spawn":
            assert server.task is not None
            server.task.cancel()
        else:
            server.phase = "stop"
            server.task = self.process.spawn(self._end(server, failed=False))

    def poll(self, key: Key) -> None:
        """JupyterHub does so every 30 s."""
        server = self.servers[key]
        if server.phase == "running":
            self.process.spawn(self._poll(server))

    def keep_queue(self) -> None:
        self.keeper.look(self.world.now)

    # -- the order of calls, as in spawner.py

    async def _spawn(self, server: Server) -> None:
        life = server.life = Lifecycle(self.side, *server.key, _name(server.key))
        try:
            await life.make_room()
            lease = await life.acquire(
                server.request,
                limit=QUEUE_TIMEOUT,
                tell=lambda *_news: None,
                user_options=options_of(server.request),
            )
            async with asyncio.timeout(START_TIMEOUT):
                await life.run(lambda _raised: self._create_request(lease))
                await self._answers(life)
                await life.mark_running()
        except (GpucampError, TimeoutError, _ServerStopped):
            await self._end(server, failed=True)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            assert task is not None
            task.uncancel()
            await self._end(server, failed=True)
        else:
            server.phase = "running"
            self.world.remembered[server.key] = (life.container_id, server.request)

    @staticmethod
    async def _answers(life: Lifecycle) -> None:
        while True:
            state = await life.state()
            if state.presence is Presence.RUNNING:
                return
            if state.presence is not Presence.UNKNOWN:
                raise _ServerStopped
            await asyncio.sleep(1)

    def _create_request(self, lease: Lease) -> dict[str, object]:
        labels = {
            HUB_LABEL: self.side.hub_id,
            LEASE_LABEL: lease.id,
            USER_LABEL: lease.user,
            SERVER_LABEL: lease.server,
        }
        return {"Labels": labels, "Devices": lease.device_uuids}

    async def _end(self, server: Server, *, failed: bool) -> None:
        server.phase = "stop"
        life = server.life
        assert life is not None
        try:
            await life.stop(0 if failed else 5, 0 if failed else 30)
        except GpucampError:
            pass  # JupyterHub logs it, and calls the hook all the same
        await life.tear_down("the server was stopped")
        self.servers.pop(server.key, None)
        self.world.remembered.pop(server.key, None)

    async def _poll(self, server: Server) -> None:
        life = server.life
        assert life is not None
        state = await life.state()
        if server.phase != "running" or state.presence is Presence.UNKNOWN:
            return
        if state.presence is not Presence.RUNNING:
            await self._end(server, failed=False)
        elif life.lease is None:
            try:
                await life.adopt(state)
            except GpucampError:
                return


class Service:
    """A process of the service: its loops look when the test says so."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.process = Process(world.clock, lambda: LedgerUnavailable("it is away"))
        engine = FakeEngineClient(self.process, world.engine, world.ledger.hub_id())
        hub = HubOverRest(world, self.process)
        self.monitor = Monitor(
            world.ledger,
            engine,
            None,
            now=lambda: world.now,  # type: ignore[arg-type]
        )
        self.resets = ResetWorkflow(world.ledger, hub, engine, now=lambda: world.now)
        self.terms = TermsLoop(world.ledger, hub, engine, lambda: world.seen, now=lambda: world.now)
        self.revival = Revival(world.ledger, hub, now=lambda: world.now)
        self._looking: dict[str, asyncio.Task[None]] = {}
        self.process.spawn(self.resets.resume())

    def look(self) -> None:
        """Reconcile once, if the last look is over."""
        self._once("reconcile", self._reconcile)

    async def _reconcile(self) -> None:
        began, before = self.world.now, self.world.ledger.leases()
        await self.monitor.reconcile()
        self.world.after_look(self, began, before)

    def look_at_terms(self) -> None:
        self._once("terms", self.terms.round)

    def look_at_orphans(self) -> None:
        self._once("orphans", self.revival.round)

    def reset(self, key: Key) -> None:
        async def begin() -> None:
            try:
                await self.resets.begin(OperationKind.RESET, *key, requested_by=key[0])
            except GpucampError:
                return  # refused, or the hub is away: its user is told

        self.process.spawn(begin())
        self.process.run_ready()

    def _once(self, name: str, look: Callable[[], Any]) -> None:
        task = self._looking.get(name)
        if task is None or task.done():

            async def round_() -> None:
                try:
                    await look()
                except GpucampError:
                    return  # the loops log it

            self._looking[name] = self.process.spawn(round_())
            self.process.run_ready()


@dataclass
class HubOverRest:
    """JupyterHub as the service reaches it. A call may fail, or its reply be lost."""

    world: World
    process: Process

    async def _ask(self, name: str, question: Callable[[Hub], Any]) -> Any:
        def run(outcome: Outcome) -> Any:
            hub = self.world.hub
            if hub is None or outcome is Outcome.ERROR:
                raise HubUnavailable("it does not answer")
            result = question(hub)
            hub.process.run_ready()
            if outcome is Outcome.LOST:
                raise HubUnavailable("its reply was lost")
            return result

        return await self.process.call(name, run)

    async def server(self, user: str, server: str) -> HubServer | None:
        def question(hub: Hub) -> HubServer:
            found = hub.servers.get((user, server))
            if found is None:
                return HubServer(True, False, "", "")
            pending = found.phase if found.phase in ("spawn", "stop") else ""
            return HubServer(
                False, found.phase == "running", pending, "", options_of(found.request)
            )

        answer: HubServer | None = await self._ask("hub server", question)
        return answer

    async def stop(self, user: str, server: str) -> None:
        await self._ask("hub stop", lambda hub: hub.stop((user, server)))

    async def start(self, user: str, server: str, user_options: Mapping[str, object]) -> None:
        def question(hub: Hub) -> None:
            if not hub.start(request_from(user, server, user_options)):
                raise HubRefused("it runs or is pending")

        await self._ask("hub start", question)


def _name(key: Key) -> str:
    return f"{key[0]}-{key[1]}"


GROUPS = {"ann": (), "bob": ("staff",), "cyd": ("course",), "dan": ("course", "staff")}


def request_from(user: str, server: str, options: Mapping[str, object]) -> Request:
    """What options.py makes of a user's options, here with the policy of the test."""
    groups = GROUPS[user]
    return Request(
        user,
        server,
        int(str(options.get("gpus", 0))),
        share=bool(options.get("share", False)),
        model=str(options.get("model", "")),
        groups=groups,
        priority=5 if "staff" in groups else 0,
        term=timedelta(minutes=20) if "course" in groups else timedelta(hours=2),
    )


def options_of(request: Request) -> dict[str, object]:
    return {"gpus": request.gpus, "share": request.share, "model": request.model}
