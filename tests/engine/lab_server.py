"""A participant's server in the real image, without a hub's spawner: hub_of_one.py is its hub."""

from __future__ import annotations

import http.client
import json
import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Self

import docker
import pytest
from docker.models.containers import Container
from docker.types import Mount
from hub_of_one import HubOfOne, free_port

USER = "ada"


class LabServer:
    """A participant's server on practice devices, as the spawner runs it, in the real image."""

    def __init__(
        self,
        engine: docker.DockerClient,
        image: str,
        hub: HubOfOne,
        environment: dict[str, str] | None = None,
        *,
        shm_size: str = "1g",
        mounts: Sequence[Mount] = (),
    ) -> None:
        self.port = free_port()
        self.hub_token = hub.token
        self._name = f"gpucamp-test-lab-{secrets.token_hex(5)}"
        self._engine = engine
        self.container: Container = engine.containers.create(
            image,
            name=self._name,
            user="1000",
            read_only=True,
            tmpfs={"/tmp": "exec"},
            cap_drop=["ALL"],
            security_opt=["no-new-privileges"],
            shm_size=shm_size,
            network_mode="host",
            mounts=list(mounts),
            volumes={
                self._name: {"bind": "/home/jovyan"},
                f"{self._name}-work": {"bind": "/home/jovyan/work"},
            },
            environment={
                **hub.environment(USER, self.port),
                "GPUCAMP_PRACTICE": "1",
                "GPUCAMP_SIMULATED": "1",
                "GPUCAMP_DEVICES": "GPU-5ca1ab1e-0000-4000-8000-000000000000",
                "NVIDIA_VISIBLE_DEVICES": "GPU-5ca1ab1e-0000-4000-8000-000000000000",
                "GPUCAMP_CPU_LIMIT": "2",
                "GPUCAMP_SERVICE_URL": "http://127.0.0.1:9/services/gpucamp/",  # is down
                **(environment or {}),
            },
        )

    @classmethod
    @contextmanager
    def serving(
        cls,
        engine: docker.DockerClient,
        image: str,
        environment: dict[str, str] | None = None,
        *,
        shm_size: str = "1g",
        mounts: Sequence[Mount] = (),
    ) -> Iterator[Self]:
        """One that answers, with a hub of its own; nothing is left of either."""
        with HubOfOne(USER) as hub:
            server = cls(engine, image, hub, environment, shm_size=shm_size, mounts=mounts)
            try:
                server.start()
                yield server
            finally:
                server.discard()

    def start(self) -> None:
        self.container.start()
        deadline = time.monotonic() + 60
        while True:
            try:
                if self.ask("GET", "api")[0] == 200:
                    return
            except OSError:
                pass
            assert time.monotonic() < deadline, self.container.logs().decode(errors="replace")
            time.sleep(0.1)

    def discard(self) -> None:
        self.container.remove(force=True)
        for volume in self._engine.volumes.list(filters={"name": self._name}):
            volume.remove(force=True)

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Status and JSON of an answer; of a stream, the list of its objects."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        connection.request(
            method,
            f"/user/{USER}/{path}",
            body=None if body is None else json.dumps(body),
            headers={"Authorization": f"token {self.hub_token}"},
        )
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        if "ndjson" in (answer.headers["Content-Type"] or ""):
            # not splitlines(): U+2028 and its like are in strings
            return answer.status, [json.loads(line) for line in text.split("\n") if line]
        return answer.status, json.loads(text) if text else None

    def sh(self, command: str) -> tuple[int, str]:
        done = self.container.exec_run(["bash", "-c", command], workdir="/home/jovyan/work")
        return done.exit_code, done.output.decode(errors="replace")

    def ok(self, command: str) -> str:
        """What a command says that must succeed."""
        status, out = self.sh(command)
        assert status == 0, f"{command} ended with {status}:\n{out}"
        return out


@pytest.fixture(scope="module")
def lab(engine: docker.DockerClient, image: str) -> Iterator[LabServer]:
    """A server that a module's tests share: each leaves it as it was."""
    with LabServer.serving(engine, image) as server:
        yield server
