"""A small world for the service's tests: a hub, an Engine and a real ledger that fit together.

The fakes keep the contract of the real ones: a stop ends the container and then the lease, unless
it is held; a start takes up a held lease, makes a container of the current generation, and says so.
Subclasses are named after their failures.
"""

from __future__ import annotations

import asyncio
import functools
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from hub_ext.engine_exec import Done
from hub_ext.errors import EngineUnavailable, HubRefused, HubUnavailable, NotFound
from hub_ext.images import IMAGE_LABEL, ImageFact
from hub_ext.ledger import Ledger
from hub_ext.models import Device, LeaseState, Request, Snapshot
from hub_ext.pulling import PullProgress
from hub_ext.reconcile import ContainerFact
from hub_ext.service.hub_api import HubGroup, HubServer, HubUser
from hub_ext.space import VolumeFact

UUIDS = tuple(f"GPU-5ca1ab1e-0000-4000-8000-00000000000{n}" for n in range(2))

# what servers run, and what is configured
USUAL_IMAGE = ImageFact(
    "sha256:" + "ab" * 32,
    ("gpucamp/torch-cuda:1",),
    size=8_000_000_000,
    created_at=datetime(2026, 1, 31, tzinfo=UTC),
    labels={IMAGE_LABEL: "torch-cuda"},
)


def now() -> datetime:
    return datetime.now(UTC)


@functools.cache
def empty_ledger() -> bytes:
    """The file of a ledger that knows two devices; migrated once, copied for every test."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "ledger.sqlite"
        ledger = Ledger(f"sqlite:///{file}")
        ledger.migrate()
        ledger.hub_id()
        ledger.record_inventory(
            [
                Device(uuid, "Simulated A100 (practice)", 40 * 2**30, simulated=True)
                for uuid in UUIDS
            ],
            now(),
        )
        ledger.close()
        return file.read_bytes()


def make_ledger(folder: Path) -> Ledger:
    """A real ledger on SQLite."""
    file = folder / "ledger.sqlite"
    file.write_bytes(empty_ledger())
    return Ledger(f"sqlite:///{file}", actor="test")


def first_free(gpus: int) -> Callable[[Snapshot], list[str] | None]:
    def choose(snapshot: Snapshot) -> list[str] | None:
        free = [record.device.uuid for record in snapshot.devices if record.is_free]
        return free[:gpus] if len(free) >= gpus else None

    return choose


@dataclass
class World:
    """What is true, whatever the fakes answer."""

    ledger: Ledger
    servers: dict[tuple[str, str], HubServer] = field(default_factory=dict)
    containers: list[ContainerFact] = field(default_factory=list)
    users: dict[str, tuple[str, ...]] = field(
        default_factory=lambda: {"ada": (), "bob": (), "kim": ()}
    )
    volumes: list[VolumeFact] = field(default_factory=list)
    kept: dict[tuple[str, str, int], Path] = field(default_factory=dict)  # homes to be read
    images: list[ImageFact] = field(default_factory=lambda: [USUAL_IMAGE])
    unfit_images: set[str] = field(default_factory=set)  # those that are pulled without the label
    readers: list[str] = field(default_factory=list)  # that are open
    removed_environments: list[tuple[str, str, int]] = field(default_factory=list)
    started_with: list[Mapping[str, object]] = field(default_factory=list)
    made: int = 0

    def run_server(
        self,
        user: str,
        server: str = "",
        gpus: int = 1,
        *,
        term: timedelta | None = None,
        groups: tuple[str, ...] = (),
        at: datetime | None = None,
    ) -> None:
        """What a spawn does, from lease to ready."""
        options = {"gpus": gpus}
        request = Request(user, server, gpus, term=term, groups=groups)
        lease = self.ledger.acquire(request, first_free(gpus), at or now())
        assert lease is not None, "no free device"
        self.made += 1
        container = ContainerFact(
            id=f"c{self.made}",
            lease_id=lease.id,
            user=user,
            server=server,
            running=True,
            generation=self.ledger.environment(user, server).generation,
            image=USUAL_IMAGE.id,
            image_id=USUAL_IMAGE.id,
        )
        self.containers.append(container)
        self.ledger.mark_running(lease.id, container.id, at or now())
        self.servers[user, server] = HubServer(False, True, "", f"/user/{user}/", options)

    def stop_server(self, user: str, server: str) -> None:
        """What a stop does, with the spawner's post-stop hook."""
        self.containers = [c for c in self.containers if (c.user, c.server) != (user, server)]
        lease = self.ledger.lease_of(user, server)
        if lease is not None and lease.state is not LeaseState.HELD:
            self.ledger.end(lease.id, "stopped", now())
        known = self.servers[user, server]
        self.servers[user, server] = replace(known, stopped=True, ready=False, pending="")


class FakeHub:
    """JupyterHub that works at once."""

    def __init__(self, world: World) -> None:
        self.world = world

    async def version(self) -> str:
        return "6.1.1"

    async def user(self, name: str) -> HubUser:
        if name not in self.world.users:
            raise NotFound("JupyterHub knows no such user.")
        return HubUser(name, self.world.users[name])

    async def groups(self) -> tuple[HubGroup, ...]:
        names = sorted({group for groups in self.world.users.values() for group in groups})
        return tuple(
            HubGroup(name, tuple(u for u, groups in self.world.users.items() if name in groups))
            for name in names
        )

    async def server(self, user: str, server: str) -> HubServer | None:
        await self.user(user)
        return self.world.servers.get((user, server))

    async def stop(self, user: str, server: str) -> None:
        found = self.world.servers.get((user, server))
        if found is not None and not found.stopped:
            self.world.stop_server(user, server)

    async def start(self, user: str, server: str, user_options: Mapping[str, object]) -> None:
        found = self.world.servers.get((user, server))
        if found is not None and not found.stopped:
            raise HubRefused(f"{user} is already running")
        self.world.started_with.append(user_options)
        self.world.run_server(user, server, int(str(user_options.get("gpus", 0))))


class HubDownForAWhile(FakeHub):
    """Answers nothing for its next `silent` calls."""

    silent = 0

    async def user(self, name: str) -> HubUser:
        self._answer()
        return await super().user(name)

    async def stop(self, user: str, server: str) -> None:
        self._answer()
        await super().stop(user, server)

    async def start(self, user: str, server: str, user_options: Mapping[str, object]) -> None:
        self._answer()
        await super().start(user, server, user_options)

    def _answer(self) -> None:
        if self.silent > 0:
            self.silent -= 1
            raise HubUnavailable("JupyterHub did not answer")


class HubLosesReplies(FakeHub):
    """Does what it is told, and the reply is lost, once for each command."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.lost: set[str] = set()

    async def stop(self, user: str, server: str) -> None:
        await super().stop(user, server)
        self._lose("stop")

    async def start(self, user: str, server: str, user_options: Mapping[str, object]) -> None:
        await super().start(user, server, user_options)
        self._lose("start")

    def _lose(self, command: str) -> None:
        if command not in self.lost:
            self.lost.add(command)
            raise HubUnavailable("the reply was lost")


class HubNeverStops(FakeHub):
    async def stop(self, user: str, server: str) -> None:
        pass


class HubFailsToStart(FakeHub):
    """Every spawn fails with a reason, `failures` times."""

    failures = 10**6

    async def start(self, user: str, server: str, user_options: Mapping[str, object]) -> None:
        if self.failures > 0:
            self.failures -= 1
            raise HubRefused("The image is gone")
        await super().start(user, server, user_options)


class HubRefusesToStop(FakeHub):
    """Says no to every stop, `refusals` times."""

    refusals = 10**6

    async def stop(self, user: str, server: str) -> None:
        if self.refusals > 0:
            self.refusals -= 1
            raise HubRefused("The server is pending")
        await super().stop(user, server)


class HubHangs(FakeHub):
    """Never answers a stop for `stuck`."""

    stuck = "ada"

    async def stop(self, user: str, server: str) -> None:
        if user == self.stuck:
            await asyncio.Event().wait()
        await super().stop(user, server)


class HubLetsWait(FakeHub):
    """Has no device for anyone: a start waits in line, as GPUDockerSpawner does."""

    run = "new run"

    async def start(self, user: str, server: str, user_options: Mapping[str, object]) -> None:
        found = self.world.servers.get((user, server))
        if found is not None and not found.stopped:
            return  # it is starting
        self.world.started_with.append(user_options)
        self.world.servers[user, server] = HubServer(False, False, "spawn", "", dict(user_options))
        request = Request(user, server, int(str(user_options.get("gpus", 1))))
        self.world.ledger.enqueue(request, now(), waiter=self.run, user_options=user_options)

    async def stop(self, user: str, server: str) -> None:
        self.world.ledger.withdraw(user, server)
        found = self.world.servers[user, server]
        self.world.servers[user, server] = replace(found, stopped=True, ready=False, pending="")


class HubLosesTrackOfContainers(FakeHub):
    """Says that the server has stopped while its container goes on (stock DockerSpawner)."""

    async def stop(self, user: str, server: str) -> None:
        found = self.world.servers[user, server]
        self.world.servers[user, server] = replace(found, stopped=True, ready=False)


class FakeEngine:
    """A Docker Engine that answers."""

    def __init__(self, world: World) -> None:
        self.world = world

    async def containers(self) -> tuple[ContainerFact, ...]:
        return tuple(self.world.containers)

    async def remove(self, container_id: str) -> None:
        if container_id in self.world.readers:
            self.world.readers.remove(container_id)
        self.world.containers = [c for c in self.world.containers if c.id != container_id]

    async def start_reader(
        self, user: str, server: str, generation: int, image: str, seconds: int
    ) -> str:
        folder = self.world.kept.get((user, server, generation))
        if folder is None:
            raise NotFound(f"The files of generation {generation} are gone.")
        self.world.readers.append(str(folder))
        return str(folder)

    async def images(self) -> tuple[ImageFact, ...]:
        return tuple(self.world.images)

    async def pull(self, image: str, report: Callable[[PullProgress], None]) -> None:
        report(PullProgress(1, 2, 5_000_000, 9_000_000))
        labels = {} if image in self.world.unfit_images else {IMAGE_LABEL: "pulled"}
        found = ImageFact("sha256:" + image[-64:][::-1], digests=(image,), labels=labels)
        self.world.images.append(found)

    async def volumes(self) -> tuple[VolumeFact, ...]:
        return tuple(self.world.volumes)

    async def remove_environment(self, user: str, server: str, generation: int) -> None:
        self.world.volumes = [
            volume
            for volume in self.world.volumes
            if (volume.user, volume.environment) != (user, (server, generation))
        ]
        self.world.removed_environments.append((user, server, generation))


class EnginePullsSlowly(FakeEngine):
    """A pull stops half-way until it is `released`, then ends as `failure` says."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.released = False
        self.failure: Exception | None = None
        self.given_up: list[str] = []
        self.begun: list[str] = []

    async def pull(self, image: str, report: Callable[[PullProgress], None]) -> None:
        self.begun.append(image)
        report(PullProgress(1, 2, 5_000_000, 9_000_000))
        try:
            while not self.released:  # noqa: ASYNC110 - set by the test's thread
                await asyncio.sleep(0.01)
        except asyncio.CancelledError:
            self.given_up.append(image)
            raise
        if self.failure is not None:
            raise self.failure
        await super().pull(image, report)


class EngineSilent(FakeEngine):
    """Answers nothing for its next `silent` calls."""

    silent = 10**9

    async def containers(self) -> tuple[ContainerFact, ...]:
        if self.silent > 0:
            self.silent -= 1
            raise EngineUnavailable("The Docker Engine did not answer")
        return await super().containers()

    async def images(self) -> tuple[ImageFact, ...]:
        raise EngineUnavailable("The Docker Engine did not answer")


REPORT: dict[str, object] = {
    "started_at": "2026-11-26T10:00:00+00:00",
    "seconds": 2.345,
    "kernel": "python3",
    "verdict": "blocked",
    "findings": [
        {
            "code": "GC403",
            "severity": "advice",
            "layer": "resources",
            "who": "you",
            "title": "The disk is nearly full.",
            "evidence": ["/home/jovyan: 97 %"],
            "fix": "Delete what you do not need.",
            "command": "du -sh ~/.cache",
            "params": {},
            "docs_url": "gpucamp-doctor --explain GC403",
        },
        {
            "code": "GC102",
            "severity": "blocker",
            "layer": "device",
            "who": "instructor",
            "title": "The GPU that was given is not in the container.",
            "evidence": ["GPU-5ca1ab1e <b>", "/dev: no nvidia0"],
            "fix": "Restart the server.",
            "command": "",
            "params": {},
            "docs_url": "gpucamp-doctor --explain GC102",
        },
    ],
    "checks_passed": ["python_starts", "disk_has_room"],
    "checks_skipped": ["nvml_works"],
    "checks_unexamined": [],
    "skipped_because": {"nvml_works": "GC102"},
    "facts": {"system": {"seconds": 0.1, "value": {"nodes": ["null"]}}},
}


class FakeRunner:
    """Runs gpucamp-doctor in a container at once."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, tuple[str, ...], dict[str, str]]] = []
        self.answer: Callable[[], Done] = lambda: Done(2, json.dumps(REPORT).encode(), b"")
        self.ended = 0

    async def run(
        self,
        container: str,
        command: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        most_bytes: int,
    ) -> Done:
        self.asked.append((container, tuple(command), dict(environment or {})))
        try:
            await self.wait()
            return self.answer()
        finally:
            self.ended += 1

    async def wait(self) -> None:
        """For as long as the command takes."""


class RunnerHangs(FakeRunner):
    """The command takes for ever until `released`."""

    released = False

    async def wait(self) -> None:
        while not self.released:  # noqa: ASYNC110 - set by the test's thread
            await asyncio.sleep(0.01)


def check_invariants(world: World) -> None:
    """What must hold at every moment."""
    leases = world.ledger.leases()
    held = [uuid for lease in leases for uuid in lease.device_uuids]
    assert len(held) == len(set(held)), "a device has two leases"
    live = {lease.id for lease in leases}
    for container in world.containers:
        assert container.lease_id in live, f"{container} runs without a lease"
    for user, server, generation in world.removed_environments:
        environment = world.ledger.environment(user, server)
        assert generation != environment.generation, "the environment in use was deleted"
        kept = [each.generation for each in environment.kept]
        assert generation not in kept, "an undo lost its environment"
