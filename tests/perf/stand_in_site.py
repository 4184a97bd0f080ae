"""A hub and a Docker Engine over HTTP, as far as the service asks them, and the service itself.

For measurements of the service's real process with a large ledger (big_ledger.py): what it asks is
answered at once from memory, so its own time is measured and no other's.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import big_ledger
import psutil
import requests
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, HTTPError, RequestHandler

from hub_ext import scopes
from hub_ext.container_args import HUB_LABEL, LEASE_LABEL, SERVER_LABEL, USER_LABEL
from hub_ext.ledger import Ledger

PREFIX = "/services/gpucamp/"
SERVICE_TOKEN = "service-token"  # noqa: S105 - of this process's own hub
IMAGE = "sha256:" + "ab" * 32


@dataclass
class Site:
    """What is true there. A token is the name of whoever has it."""

    hub_id: str
    containers: dict[str, dict[str, Any]] = field(default_factory=dict)  # by lease
    groups: dict[str, list[str]] = field(default_factory=big_ledger.members)
    port: int = 0

    def __post_init__(self) -> None:
        self.groups_of = {user: name for name, users in self.groups.items() for user in users}

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def run(self, lease: str, container: str, user: str, server: str = "") -> None:
        """A container runs."""
        labels = {
            HUB_LABEL: self.hub_id,
            LEASE_LABEL: lease,
            USER_LABEL: user,
            SERVER_LABEL: server,
        }
        self.containers[lease] = {
            "Id": container,
            "Names": [f"/gpucamp-{user}"],
            "State": "running",
            "Image": IMAGE,
            "Labels": labels,
        }

    def who(self, name: str) -> dict[str, Any]:
        """JupyterHub's model of a caller. Raises HTTPError for nobody it knows."""
        if name == SERVICE_TOKEN:
            return {"kind": "service", "name": "gpucamp", "scopes": list(scopes.SERVICE_SCOPES)}
        found = [*scopes.USER_SCOPES]
        if name == "admin":
            found += scopes.ADMIN_SCOPES
        elif name.startswith("instructor-"):
            group = name.removeprefix("instructor-")
            found += [f"{each}!group={group}" for each in scopes.INSTRUCTOR_SCOPES[1:]]
        elif name not in self.groups_of:
            raise HTTPError(403)
        own = [each.replace("!user", f"!user={name}") for each in found if each.endswith("!user")]
        others = [each for each in found if not each.endswith("!user")]
        groups = [self.groups_of[name]] if name in self.groups_of else []
        return {"kind": "user", "name": name, "groups": groups, "scopes": [*own, *others]}


class _Handler(RequestHandler):
    def initialize(self, site: Site) -> None:
        self.site = site

    def reply(self, value: object) -> None:
        self.set_header("Content-Type", "application/json")
        self.finish(json.dumps(value))


class _Root(_Handler):
    def get(self) -> None:
        self.reply({"version": "6.1.1"})


class _Who(_Handler):
    def get(self) -> None:
        token = self.request.headers.get("Authorization", "").partition(" ")[2]
        self.reply(self.site.who(token))


class _Token(_Handler):
    """The code of an OAuth answer is the visitor's name, and so is the token."""

    def post(self) -> None:
        name = self.get_body_argument("code")
        self.reply({"access_token": name, "token_type": "Bearer"})

    def check_xsrf_cookie(self) -> None:
        """Asked by the service, which has no cookie."""


class _Groups(_Handler):
    def get(self) -> None:
        start, size = int(self.get_argument("offset", "0")), int(self.get_argument("limit", "50"))
        found = list(self.site.groups.items())[start : start + size]
        self.reply([{"name": name, "users": users} for name, users in found])


class _Group(_Handler):
    def get(self, name: str) -> None:
        if name not in self.site.groups:
            raise HTTPError(404)
        self.reply({"name": name, "users": self.site.groups[name]})


class _User(_Handler):
    def get(self, name: str) -> None:
        if name not in self.site.groups_of:
            raise HTTPError(404)
        self.reply({"name": name, "groups": [self.site.groups_of[name]]})


class _Server(_Handler):
    def get(self, name: str, server: str = "") -> None:
        label = (name, server)
        for each in list(self.site.containers.values()):
            if (each["Labels"][USER_LABEL], each["Labels"][SERVER_LABEL]) == label:
                self.reply({"name": server, "ready": True, "user_options": {"gpus": 1}})
                return
        raise HTTPError(404)


class _EngineVersion(_Handler):
    def get(self) -> None:
        self.reply({"ApiVersion": "1.43", "MinAPIVersion": "1.24", "Version": "24.0"})


class _Containers(_Handler):
    def get(self) -> None:
        self.reply(list(self.site.containers.values()))


class _DiskUsage(_Handler):
    def get(self) -> None:
        self.reply({"Volumes": []})


_ROUTES: tuple[tuple[str, type[_Handler]], ...] = (
    (r"/hub/api/", _Root),
    (r"/hub/api/user", _Who),
    (r"/hub/api/oauth2/token", _Token),
    (r"/hub/api/groups", _Groups),
    (r"/hub/api/groups/([^/]+)", _Group),
    (r"/hub/api/users/([^/]+)", _User),
    (r"/hub/api/users/([^/]+)/server", _Server),
    (r"/hub/api/users/([^/]+)/servers/([^/]+)", _Server),
    (r"(?:/v[\d.]+)?/version", _EngineVersion),
    (r"/v[\d.]+/containers/json", _Containers),
    (r"/v[\d.]+/system/df", _DiskUsage),
)


@contextmanager
def site_of(ledger: Ledger) -> Iterator[Site]:
    """Hub and Engine of a ledger, with a container for each live lease, in a thread."""
    site = Site(ledger.hub_id())
    for lease in ledger.leases():
        site.run(lease.id, lease.container_id, lease.user, lease.server)
    sockets = bind_sockets(0, "127.0.0.1")
    site.port = sockets[0].getsockname()[1]
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    async def serve() -> None:
        server = HTTPServer(Application([(path, each, {"site": site}) for path, each in _ROUTES]))
        server.add_sockets(sockets)
        await stop.wait()
        server.stop()
        await server.close_all_connections()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),), daemon=True)
    thread.start()
    try:
        yield site
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)


class ServiceProcess:
    """`python -m hub_ext.service` with the environment that JupyterHub gives it."""

    def __init__(self, folder: Path, site: Site, variables: Mapping[str, str]) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        config = folder / "service_config.py"
        # the year stays, and rights are believed as long as in jupyterhub_config.py
        config.write_text("c.GpucampService.history_days = 400\n")
        self._log = folder / "service.log"
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "hub_ext.service", f"--config={config}"],
                stdout=log,
                stderr=subprocess.STDOUT,
                env={
                    **os.environ,
                    "JUPYTERHUB_SERVICE_NAME": "gpucamp",
                    "JUPYTERHUB_SERVICE_URL": f"http://127.0.0.1:{self.port}",
                    "JUPYTERHUB_SERVICE_PREFIX": PREFIX,
                    "JUPYTERHUB_API_TOKEN": SERVICE_TOKEN,
                    "JUPYTERHUB_API_URL": f"{site.origin}/hub/api",
                    "JUPYTERHUB_CLIENT_ID": "service-gpucamp",
                    "JUPYTERHUB_BASE_URL": "/",
                    "GPUCAMP_STATE_DIR": str(folder),
                    "GPUCAMP_LEDGER_URL": big_ledger.sqlite_url(folder),
                    "GPUCAMP_INVENTORY": "practice",
                    "GPUCAMP_PRACTICE_DEVICES": str(big_ledger.DEVICES),
                    "DOCKER_HOST": f"tcp://127.0.0.1:{site.port}",
                    **variables,
                },
            )
        self.facts = psutil.Process(self.process.pid)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}{PREFIX}"

    @property
    def cpu_seconds(self) -> float:
        """Of the process and its children, so far."""
        times = self.facts.cpu_times()
        return float(times.user + times.system + times.children_user + times.children_system)

    @property
    def memory_bytes(self) -> int:
        """Resident."""
        return int(self.facts.memory_info().rss)

    def log(self) -> str:
        """What it said."""
        return self._log.read_text(errors="replace")

    def troubles(self) -> list[str]:
        """Warnings and errors that it logged."""
        return re.findall(r"^(?:\x1b\[\d+m)?\[[WE] .*$", self.log(), re.MULTILINE)

    def wait_until_up(self) -> None:
        """Raises RuntimeError with its log."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                requests.get(self.url + "api/v1/health", timeout=2)
                return
            except requests.RequestException:
                time.sleep(0.1)
        raise RuntimeError(self.log())

    def end(self) -> None:
        """As JupyterHub ends it."""
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@contextmanager
def service_of(
    folder: Path, site: Site, variables: Mapping[str, str] | None = None
) -> Iterator[ServiceProcess]:
    """The service's process on the ledger of this folder, until the block ends."""
    service = ServiceProcess(folder, site, variables or {})
    try:
        service.wait_until_up()
        yield service
    finally:
        service.end()
