"""Packages that were chosen come back through a reset by hub, service and a new server; one whose
server is killed meanwhile, by the next.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import aiohttp
import docker
import pytest
from engine_fixtures import MakeHub
from hub_app import HubApp, until
from participant_files import archive_of
from resetting import MAY_RESET, over
from wheels import wheel

pytestmark = pytest.mark.timeout(300)

WORK = "/home/jovyan/work"
PYTHON = "/home/jovyan/.venv/bin/python"


class Ada:
    """A participant with a server, as her browser asks it."""

    def __init__(self, hub: HubApp, engine: docker.DockerClient) -> None:
        self.hub, self.engine, self.token = hub, engine, ""

    async def begin(self) -> None:
        await self.hub.start()
        await until(self.hub.service_answers, 60, self.hub.log)
        await self.hub.start_server("ada", 1)
        scopes = {"scopes": ["access:servers!user=ada"]}
        status, body = await self.hub.api("POST", "/users/ada/tokens", scopes)
        assert status == 201, body
        self.token = body["token"]

    @property
    def container(self) -> Any:
        return self.engine.containers.get(self.hub.container("ada"))

    def run(self, *argv: str) -> tuple[int, str]:
        result = self.container.exec_run(list(argv), workdir=WORK)
        return result.exit_code, result.output.decode(errors="replace")

    def put(self, path: Path, name: str) -> None:
        assert self.container.put_archive(WORK, archive_of(path, name))

    async def ask(self, method: str, path: str, body: object = None) -> Any:
        headers = {"Authorization": f"token {self.token}"}
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(90)) as session,
            session.request(
                method, f"{self.hub.url}/user/ada/gpucamp/{path}", headers=headers, json=body
            ) as answer,
        ):
            text = await answer.text()
            assert answer.status in (200, 202), text
            return json.loads(text)

    async def report_when_done(self) -> dict[str, dict[str, str]]:
        """The packages by name."""
        seen: list[Any] = []

        async def done() -> bool:
            seen[:] = [await self.ask("GET", "reset/again")]
            return bool(seen[0]["state"] == "done")

        await until(done, 120, lambda: f"{seen} {self.container.logs(tail=50)}")
        return {one["name"]: one for one in seen[0]["packages"]}


@pytest.fixture(scope="module")
def client() -> Iterator[docker.DockerClient]:
    with closing(docker.from_env(timeout=120)) as client:
        yield client


@pytest.fixture
async def ada(make_hub: MakeHub, client: docker.DockerClient) -> Ada:
    extra = 'c.GPUDockerSpawner.environment = {"PIP_NO_INDEX": "1"}\n'
    made = Ada(make_hub(service=True, extra=MAY_RESET + extra), client)
    await made.begin()
    return made


async def test_through_a_reset(ada: Ada, tmp_path: Path) -> None:
    for name in ("kettle", "toaster"):
        path = wheel(tmp_path, name, "1.0")
        ada.put(path, path.name)
        status, said = ada.run(PYTHON, "-m", "pip", "install", "-q", path.name)
        assert status == 0, said
    broken = tmp_path / "toaster-1.0-py3-none-any.whl"
    broken.write_text("a wheel that nothing comes out of")
    ada.put(broken, broken.name)
    found = {
        one["name"]: one["again"] for one in (await ada.ask("GET", "reset"))["changed_packages"]
    }
    assert found == {"kettle": True, "toaster": True}
    wish = {"undo": False, "again": ["kettle", "toaster"], "reason": "a new try"}
    progress = (await ada.ask("POST", "reset", wish))["progress_url"]
    operation = await over(ada.hub, progress.rpartition("/")[2])
    assert operation["step"] == "done" and operation["reason"] == "a new try"
    report = await ada.report_when_done()
    assert report["kettle"]["state"] == "installed", report
    assert report["toaster"]["state"] == "failed" and report["toaster"]["why"], report
    assert ada.run(PYTHON, "-c", "import kettle")[0] == 0
    assert ada.hub.ledger().environment("ada", "").generation == 2
    (only,) = (await ada.ask("GET", "reset"))["changed_packages"]
    assert only["name"] == "kettle"


class Index:
    """Hands a wheel out, but not at the first time: that request gets no answer."""

    def __init__(self, address: str, path: Path) -> None:
        self.asked, self.released = threading.Event(), threading.Event()
        index = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if not index.asked.is_set():
                    index.asked.set()
                    index.released.wait(120)
                    return
                data = path.read_bytes()
                self.send_response(200)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer((address, 0), Handler)
        self.url = f"http://{address}:{self.server.server_address[1]}/{path.name}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.released.set()
        self.server.shutdown()
        self.server.server_close()


async def test_a_server_that_is_killed_meanwhile(ada: Ada, tmp_path: Path) -> None:
    with closing(Index(ada.hub.gateway, wheel(tmp_path, "kettle", "1.0"))) as index:
        lock = tmp_path / "lock"
        lock.write_text(f"kettle @ {index.url}\nnowhere==9.9\n# generation: 77\n")
        ada.put(lock, ".gpucamp/install-again.lock")
        await ada.hub.stop_server("ada")
        await ada.hub.start_server("ada", 1)
        assert await asyncio.to_thread(index.asked.wait, 60)
        assert (await ada.ask("GET", "reset/again"))["state"] == "installing"
        ada.container.kill()

        async def noticed() -> bool:
            return await ada.hub.server("ada") is None

        await until(noticed, 90, ada.hub.log)
        await ada.hub.start_server("ada", 1)
        report = await ada.report_when_done()
    states = {name: one["state"] for name, one in report.items()}
    assert states == {"kettle": "installed", "nowhere": "failed"}, report
    assert ada.run(PYTHON, "-c", "import kettle")[0] == 0
