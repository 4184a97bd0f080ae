"""A participant's two volumes, and servers on them one after the other, as the spawner makes them:
names by hub_ext/volumes.py, containers by hub_ext/container_args.py. Reset is what the service
does: the next generation of the environment over the same work.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import secrets
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import docker
from ask_kernel import in_kernel
from docker.models.containers import Container
from hub_of_one import HubOfOne, free_port
from work_tree import MAKE, STATE

from hub_ext import volumes
from hub_ext.container_args import GIB, Context, DeviceInjection, create_request
from hub_ext.models import Lease, LeaseState

USER = "ada"
SYSTEM_PYTHON = ["/usr/bin/python3", "-I", "-c"]
DEVICE = "GPU-5ca1ab1e-0000-4000-8000-000000000000"
# what the server itself writes there: that the examples were copied
OURS = (".gpucamp",)


@dataclass(frozen=True)
class Answer:
    """Of the participant's server."""

    status: int
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)


class Place:
    """One participant's volumes. `discard` leaves nothing."""

    def __init__(self, engine: docker.DockerClient, image: str, hub: HubOfOne) -> None:
        self._engine, self._image, self._hub = engine, image, hub
        self.prefix = f"gctest{secrets.token_hex(4)}"
        self.generation = 1
        self.port = 0
        self.container: Container | None = None

    # -- containers

    def limit_home(self, options: str) -> None:
        """Before the first start: a home in memory, with these options of tmpfs."""
        self._engine.volumes.create(
            volumes.environment_volume(USER, "", self.generation, prefix=self.prefix),
            driver_opts={"type": "tmpfs", "device": "tmpfs", "o": options},
        )

    def idle(self, *, pids: int) -> None:
        """A container of the participant without a server, and without a network but its own."""
        self._start(("sleep", "infinity"), network="none", pids=pids)
        # as a server that was there before has left it
        assert self.run(["touch", "/home/jovyan/.gpucamp-made"])[0] == 0

    def serve(self) -> None:
        """Start the server, as the spawner does. It need not be there yet when this returns."""
        self._start((), network="host", pids=4096)

    def reset(self) -> None:
        """As the service: nothing runs on the old environment, and the next one is new."""
        self._remove()
        self.generation += 1

    def _start(self, command: tuple[str, ...], *, network: str, pids: int) -> None:
        self._remove()
        self.port = free_port()
        lease = Lease(
            id="lease1",
            user=USER,
            server="",
            state=LeaseState.GRANTED,
            device_uuids=(DEVICE,),
            granted_at=datetime.now(UTC),
        )
        context = Context(
            image=self._image,
            hub_id="test",
            network=network,
            environment_volume=volumes.environment_volume(
                USER, "", self.generation, prefix=self.prefix
            ),
            work_volume=volumes.work_volume(USER, prefix=self.prefix),
            generation=self.generation,
            injection=DeviceInjection.PRACTICE,
            simulated=True,
            service_url="http://127.0.0.1:9/services/gpucamp/",  # is down
            command=command,
            environment=self._hub.environment(USER, self.port),
            memory_bytes=3 * GIB,
            cpus=2,
            pids_limit=pids,
        )
        made = self._engine.api.create_container_from_config(
            create_request(lease, context), volumes.container_name(USER, "", prefix=self.prefix)
        )
        self.container = self._engine.containers.get(made["Id"])
        self.container.start()

    def _remove(self) -> None:
        if self.container is not None:
            self.container.remove(force=True)
            self.container = None

    def discard(self) -> None:
        """Remove containers and volumes."""
        self._remove()
        for volume in self._engine.volumes.list(filters={"name": self.prefix}):
            volume.remove(force=True)

    # -- commands in it

    def run(self, argv: list[str], *, seconds: int = 60) -> tuple[int, str]:
        """Exit status and output; one that hangs is ended, and says 137."""
        assert self.container is not None
        result = self.container.exec_run(
            ["/usr/bin/timeout", "-s", "KILL", str(seconds), *argv], workdir="/home/jovyan"
        )
        return result.exit_code, result.output.decode(errors="replace")

    def make_work(self) -> None:
        """The tree of files."""
        status, said = self.run([*SYSTEM_PYTHON, MAKE])
        assert status == 0, said

    def work(self, *passed_over: str) -> dict[str, Any]:
        """What is in ~/work, without what the server itself writes there."""
        argv = [*SYSTEM_PYTHON, STATE, *(passed_over or OURS)]
        status, said = self.run(argv, seconds=240)
        assert status == 0, said
        return dict(json.loads(said))

    # -- the server

    def until_serving(self, seconds: float = 60) -> None:
        """Wait for /api."""
        deadline = time.monotonic() + seconds
        while True:
            with contextlib.suppress(OSError, http.client.HTTPException):
                if self.get("api").status == 200:
                    return
            assert self.container is not None
            self.container.reload()
            assert self.container.status == "running", self.log()
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.05)

    def log(self) -> str:
        assert self.container is not None
        return str(self.container.logs().decode(errors="replace"))

    def get(self, path: str) -> Answer:
        return self.ask("GET", path)

    def ask(self, method: str, path: str, body: Any = None) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request(
            method,
            f"/user/{USER}/{path}",
            body=None if body is None else json.dumps(body),
            headers={"Authorization": f"token {self._hub.token}"},
        )
        with contextlib.closing(connection):
            answer = connection.getresponse()
            return Answer(answer.status, answer.read().decode(errors="replace"))

    def in_kernel(self, code: str, value: str, *, seconds: float = 60) -> str:
        """See ask_kernel.in_kernel."""
        address = f"http://127.0.0.1:{self.port}/user/{USER}"
        return in_kernel(address, self._hub.token, code, value, seconds=seconds)
