"""How containers of a real hub reach the internet: a proxy, mirrors, none."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import docker
import pytest
from hub_app import HubApp

pytestmark = pytest.mark.timeout(300)

PYTHON = "/home/jovyan/.venv/bin/python"
ASK = (
    "from urllib.request import urlopen; "
    "print(urlopen('http://data.invalid/x', timeout=20).read().decode())"
)


@contextmanager
def web_proxy(address: str) -> Iterator[tuple[str, list[str]]]:
    """The URL of a proxy that answers everything itself, and what it was asked for."""
    asked: list[str] = []

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"by the proxy")

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer((address, 0), Answer)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://{address}:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def run(engine: docker.DockerClient, hub: HubApp, *command: str) -> str:
    """What it prints, whatever its status."""
    return str(engine.containers.get(hub.container("ada")).exec_run(list(command)).output.decode())


async def test_through_a_proxy_and_from_mirrors(
    make_hub: Callable[..., HubApp], engine: docker.DockerClient, network: tuple[str, str]
) -> None:
    with web_proxy(network[1]) as (url, asked):
        hub = make_hub(
            extra=f"c.GPUDockerSpawner.internet_proxy = {url!r}\n"
            'c.GPUDockerSpawner.internet_mirrors = {"pip": "http://pip.invalid/simple"}\n'
        )
        await hub.start()
        await hub.start_server("ada", 0)
        assert asked == [], "hub and server know each other without it"
        assert run(engine, hub, PYTHON, "-c", ASK).strip() == "by the proxy"
        assert asked == ["http://data.invalid/x"]
        run(engine, hub, PYTHON, "-m", "pip", "--retries", "0", "download", "some-package")
        assert asked[1:] == ["http://pip.invalid/simple/some-package/"]


async def test_without_internet(
    make_hub: Callable[..., HubApp], engine: docker.DockerClient
) -> None:
    hub = make_hub(extra="c.GPUDockerSpawner.offline = True\n")
    await hub.start()
    await hub.start_server("ada", 0)
    told = run(engine, hub, PYTHON, "-c", "import json, os; print(json.dumps(dict(os.environ)))")
    variables = json.loads(told)
    assert (variables["HF_HUB_OFFLINE"], variables["WANDB_MODE"]) == ("1", "offline")
    report = json.loads(run(engine, hub, "gpucamp-doctor", "--json"))
    assert "GC504" not in {each["code"] for each in report["findings"]}
