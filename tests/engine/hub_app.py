"""A real hub for tests: JupyterHub, its proxy and GPUDockerSpawner in processes of their own.

Everything is its own: ports, database, ledger, and a prefix for containers and volumes, so several
runs and an installation live beside each other. `close` leaves nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import docker

from hub_ext.ledger import Ledger

REPOSITORY = Path(__file__).resolve().parents[2]

CONFIG = """
c = get_config()
c.JupyterHub.bind_url = "http://127.0.0.1:{port}"
c.JupyterHub.hub_ip = c.JupyterHub.hub_connect_ip = "{gateway}"
c.JupyterHub.hub_port = {hub_port}
c.ConfigurableHTTPProxy.command = ["{proxy}"]
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:{proxy_api_port}"
c.ConfigurableHTTPProxy.pid_file = "{folder}/proxy.pid"
c.JupyterHub.db_url = "sqlite:///{folder}/hub.sqlite"
c.JupyterHub.cookie_secret_file = "{folder}/cookie_secret"
c.JupyterHub.cleanup_servers = False
c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allow_all = True
c.Authenticator.admin_users = {{"admin"}}
c.JupyterHub.allow_named_servers = True
c.JupyterHub.tornado_settings = {{"slow_spawn_timeout": 1}}
c.JupyterHub.concurrent_spawn_limit = 0
c.JupyterHub.services = [{{"name": "tester", "api_token": "{token}"}}]
c.JupyterHub.load_roles = [{{"name": "tester", "services": ["tester"], "scopes":
    ["admin:users", "admin:servers", "access:servers", "read:hub", "tokens"]}}]
from hub_ext.defaults import text_in
c.JupyterHub.template_paths = ["{repository}/hub_ext/templates"]
c.JupyterHub.template_vars = {{"gettext": lambda user: text_in}}
c.JupyterHub.spawner_class = "gpu-docker"
c.Spawner.default_url = "/lab"
c.GPUDockerSpawner.image = "{image}"
c.GPUDockerSpawner.prefix = "{prefix}"
c.GPUDockerSpawner.network_name = "{network}"
c.GPUDockerSpawner.ledger_url = "{ledger_url}"
c.GPUDockerSpawner.practice_devices = {devices}
c.GPUDockerSpawner.max_gpus = 4
c.GPUDockerSpawner.mem_limit = "3G"
"""

# what a hub with gpucamp's service has beyond jupyterhub_config.py, which it reads first
SERVED = """
c = get_config()
c.JupyterHub.db_url = "sqlite:///{folder}/hub.sqlite"
c.JupyterHub.cookie_secret_file = "{folder}/cookie_secret"
c.ConfigurableHTTPProxy.pid_file = "{folder}/proxy.pid"
c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allow_all = True
c.JupyterHub.allow_named_servers = True
c.JupyterHub.tornado_settings = {{"slow_spawn_timeout": 1}}
c.JupyterHub.services.append({{"name": "tester", "api_token": "{token}"}})
c.JupyterHub.load_roles.append({{"name": "tester", "services": ["tester"], "scopes":
    ["admin:users", "admin:servers", "access:servers", "access:services", "read:hub",
    "tokens"]}})
c.GPUDockerSpawner.max_gpus = 4
c.GPUDockerSpawner.mem_limit = "3G"
c.GpucampService.reconcile_interval = 1
c.GpucampService.scan_interval = 1
"""


@dataclass
class HubApp:
    """One hub; `extra` is added to its configuration, `docker_host` is where its Engine is, and
    `engine` a client of that for the clean-up, if it is not the usual one.

    With `service` it is configured by jupyterhub_config.py, as `make run` does it.
    """

    folder: Path
    image: str
    proxy: str
    network: str
    gateway: str
    prefix: str
    devices: int = 2
    extra: str = ""
    docker_host: str = ""
    engine: docker.DockerClient | None = None
    ledger_folder: Path | None = None
    service: bool = False
    template: str = CONFIG
    environment: dict[str, str] = field(default_factory=dict)
    token: str = field(default_factory=lambda: secrets.token_hex(16))
    process: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        self.port, self.proxy_api_port = free_port("127.0.0.1"), free_port("127.0.0.1")
        self.hub_port = free_port(self.gateway)
        self.service_port = free_port(self.gateway)
        self.url = f"http://127.0.0.1:{self.port}"
        self.log_file = self.folder / "hub.log"
        self.ledger_url = f"sqlite:///{self.ledger_folder or self.folder}/ledger.sqlite"
        self.ledger().migrate()

    # -- the process

    async def start(self) -> None:
        """Start the hub and wait until it answers."""
        own = self.folder / "jupyterhub_config.py"
        values = {**vars(self), "repository": REPOSITORY}
        own.write_text((SERVED if self.service else self.template).format(**values) + self.extra)
        config = REPOSITORY / "jupyterhub_config.py" if self.service else own
        environ = {
            **os.environ,
            "PYTHONUNBUFFERED": "1",
            "PYTHONPATH": str(REPOSITORY),
            "GPUCAMP_INVENTORY": "practice",  # asks no driver, which a busy host answers too late
        }
        if self.service:
            environ |= self._settings()
            (self.folder / "hub").mkdir(exist_ok=True)
        if self.docker_host:
            environ["DOCKER_HOST"] = self.docker_host
        environ |= self.environment
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(  # noqa: ASYNC220 - nobody waits beside it
                [sys.executable, "-m", "jupyterhub", "-f", str(config)],
                cwd=self.folder,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        await until(self._answers, 180, lambda: f"the hub does not answer\n{self.log()[-4000:]}")

    def _settings(self) -> dict[str, str]:
        """The installation's settings, as setup_host gives them to jupyterhub_config.py."""
        return {
            "GPUCAMP_STATE_DIR": str(self.folder),
            "GPUCAMP_HUB_ADDRESS": self.gateway,
            "GPUCAMP_PORT": str(self.port),
            "GPUCAMP_HUB_PORT": str(self.hub_port),
            "GPUCAMP_SERVICE_PORT": str(self.service_port),
            "GPUCAMP_PROXY_API_PORT": str(self.proxy_api_port),
            "GPUCAMP_PROXY_COMMAND": self.proxy,
            "GPUCAMP_PRACTICE_DEVICES": str(self.devices),
            "GPUCAMP_IMAGE": self.image,
            "GPUCAMP_PREFIX": self.prefix,
            "GPUCAMP_NETWORK": self.network,
            "GPUCAMP_LEDGER_URL": self.ledger_url,
        }

    async def _answers(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise AssertionError(f"the hub ended\n{self.log()[-4000:]}")
        with socket.socket() as probe:
            if probe.connect_ex((self.gateway, self.hub_port)) != 0:
                return False  # nor does its proxy
        try:
            status, _body = await self.api("GET", "/info")
        except aiohttp.ClientError:
            return False
        return status == 200

    async def ask_service(
        self, path: str, method: str = "GET", body: object = None
    ) -> tuple[int, Any]:
        """One request to gpucamp's service, through the proxy."""
        return await self._ask(method, f"/services/gpucamp/api/v1/{path}", body)

    async def service_answers(self) -> bool:
        """Whether the service is there and has looked at devices and Engine."""
        try:
            status, _body = await self.ask_service("health")
        except aiohttp.ClientError:
            return False
        return status == 200

    def kill(self) -> None:
        """SIGKILL to the hub alone; its proxy and the containers go on."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """SIGTERM, as `make stop` sends it."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def close(self) -> None:
        """End the hub and its proxy; remove its containers and volumes."""
        if self.process is not None and self.process.poll() is None:
            self.stop()
        pid_file = self.folder / "proxy.pid"
        if pid_file.exists():
            try:
                os.kill(int(pid_file.read_text()), signal.SIGKILL)
            except (ProcessLookupError, ValueError):
                pass
        engine = self.engine or docker.from_env()
        for container in engine.containers.list(all=True, filters={"name": self.prefix}):
            container.remove(force=True, v=True)
        for volume in engine.volumes.list(filters={"name": self.prefix}):
            volume.remove(force=True)
        if engine is not self.engine:
            engine.close()

    def log(self) -> str:
        return self.log_file.read_text() if self.log_file.exists() else ""

    # -- asking it

    async def api(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """One request to the hub's REST API as an admin service; status and decoded body."""
        return await self._ask(method, f"/hub/api{path}", body)

    async def _ask(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        headers = {"Authorization": f"token {self.token}"}
        # json.dumps, not aiohttp's json=: NaN must reach the hub as clients send it
        data = None if body is None else json.dumps(body)
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(90)) as session,
            session.request(method, self.url + path, headers=headers, data=data) as answer,
        ):
            text = await answer.text()
            try:
                return answer.status, json.loads(text)
            except ValueError:
                return answer.status, text

    async def add_user(self, name: str) -> None:
        status, body = await self.api("POST", f"/users/{name}")
        assert status in (201, 409), body

    async def request_server(self, user: str, options: object, server: str = "") -> tuple[int, Any]:
        """POST for a server; the status and what the hub says."""
        await self.add_user(user)
        where = f"/users/{user}/servers/{server}" if server else f"/users/{user}/server"
        return await self.api("POST", where, {"user_options": options})

    async def server(self, user: str, server: str = "") -> dict[str, Any] | None:
        """The hub's model of the server if it is active."""
        _status, body = await self.api("GET", f"/users/{user}")
        found = body["servers"].get(server)
        return found if found and (found["ready"] or found["pending"]) else None

    async def start_server(self, user: str, gpus: int, server: str = "") -> None:
        """Ask for a server and wait until it is ready."""
        status, body = await self.request_server(user, {"gpus": gpus}, server)
        assert status in (201, 202), (status, body, self.log()[-3000:])
        await self.wait_ready(user, server)

    async def wait_ready(self, user: str, server: str = "", seconds: float = 90) -> None:
        async def ready() -> bool:
            model = await self.server(user, server)
            if model is None:
                raise AssertionError(f"{user}'s server failed\n{self.log()[-4000:]}")
            return bool(model["ready"])

        await until(ready, seconds, lambda: f"{user}'s server is not ready\n{self.log()[-4000:]}")

    async def stop_server(self, user: str, server: str = "", seconds: float = 60) -> int:
        """DELETE the server and wait until the hub has finished; the first status."""
        where = f"/users/{user}/servers/{server}" if server else f"/users/{user}/server"
        status, body = await self.api("DELETE", where)
        assert status in (202, 204), (status, body, self.log()[-3000:])

        async def gone() -> bool:
            return await self.server(user, server) is None

        await until(gone, seconds, lambda: f"{user}'s server does not stop\n{self.log()[-3000:]}")
        return status

    async def through_proxy(self, user: str, path: str = "api") -> tuple[int, str]:
        """A request to the user's server as a browser sends it."""
        headers = {"Authorization": f"token {self.token}"}
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(30)) as session,
            session.get(
                f"{self.url}/user/{user}/{path}", headers=headers, allow_redirects=False
            ) as answer,
        ):
            return answer.status, await answer.text()

    async def stop_all(self) -> None:
        """No server, no lease, no container is left; the hub goes on."""
        _status, users = await self.api("GET", "/users")
        await asyncio.gather(
            *(
                self.stop_server(user["name"], server)
                for user in users
                for server in user["servers"]
            )
        )

        async def free() -> bool:
            return self.ledger().leases() == () and self.ledger().queue() == ()

        await until(free, 30, lambda: f"{self.ledger().leases()}\n{self.log()[-3000:]}")
        engine = self.engine or docker.from_env()
        for container in engine.containers.list(all=True, filters={"name": self.prefix}):
            container.remove(force=True, v=True)
        if engine is not self.engine:
            engine.close()

    def all_leases(self) -> set[str]:
        """Ids of all leases that ever were."""
        return {lease.id for lease in self.ledger().leases(include_ended=True)}

    @asynccontextmanager
    async def progress(self, user: str, server: str = "") -> AsyncIterator[Progress]:
        """Follow the progress events of a start."""
        where = f"/users/{user}/servers/{server}" if server else f"/users/{user}/server"
        headers = {"Authorization": f"token {self.token}"}
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(None)) as session,
            session.get(f"{self.url}/hub/api{where}/progress", headers=headers) as answer,
        ):
            if answer.status == 400:
                raise NotStarting(await answer.text())
            assert answer.status == 200, await answer.text()
            yield Progress(answer)

    async def failure(self, user: str, seconds: float = 60) -> dict[str, Any]:
        """The last event of a start that fails, once it has."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            # the hub answers 400 while it cleans up
            with contextlib.suppress(NotStarting):
                async with self.progress(user) as progress:
                    return await progress.until(lambda event: event.get("failed"), seconds)
            await asyncio.sleep(0.2)
        raise AssertionError(f"the start of {user} does not fail\n{self.log()[-3000:]}")

    def ledger(self) -> Ledger:
        return Ledger(self.ledger_url)

    def container(self, user: str, server: str = "") -> str:
        return f"{self.prefix}-{user}--{server}" if server else f"{self.prefix}-{user}"


class NotStarting(Exception):
    """No start is under way, as far as the hub says."""


class Progress:
    """Progress events, one at a time."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self._answer = answer

    async def until(self, found: Any, seconds: float = 30) -> dict[str, Any]:
        """The first event for which `found` is true."""
        seen: list[Any] = []
        try:
            async with asyncio.timeout(seconds):
                async for raw in self._answer.content:
                    line = raw.decode().strip()
                    if line.startswith("data:"):
                        event: dict[str, Any] = json.loads(line[5:])
                        seen.append(event)
                        if found(event):
                            return event
        except TimeoutError:
            pass
        raise AssertionError(f"no such event; there were {seen}")


def free_port(address: str) -> int:
    with socket.socket() as probe:
        probe.bind((address, 0))
        return int(probe.getsockname()[1])


async def until(condition: Any, seconds: float, words: Any = lambda: "") -> None:
    """Wait until an async condition is true; AssertionError after `seconds`."""
    deadline = time.monotonic() + seconds
    while not await condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {words()}")
        await asyncio.sleep(0.1)
