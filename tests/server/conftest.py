"""A real Jupyter Server with gpucamp in this process, in folders of its own.

Not pytest-jupyter's fixtures: its plugin replaces how every test of the session is called and
cleans up a server after each of them, whatever level it belongs to.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from jupyter_server.auth.identity import User
from jupyter_server.serverapp import ServerApp
from tornado.httpclient import AsyncHTTPClient, HTTPRequest, HTTPResponse
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from traitlets.config import Config

TOKEN = "the-token-of-the-tests"
BASE = "/user/ada/"


@dataclass
class Jupyter:
    """A running server. root: its work folder; data: where kernel specs go."""

    app: ServerApp
    root: Path
    data: Path
    home: Path
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}{BASE}"

    async def fetch(
        self,
        path: str,
        *,
        method: str = "GET",
        body: Any = None,
        token: str | None = TOKEN,
        headers: dict[str, str] | None = None,
        on_chunk: Callable[[bytes], None] | None = None,
    ) -> HTTPResponse:
        """Any request; never raises for a status."""
        sent = dict(headers or {})
        if token:
            sent["Authorization"] = f"token {token}"
        raw = body if isinstance(body, bytes | str) or body is None else json.dumps(body)
        if raw is None and method in {"POST", "PUT", "PATCH"}:
            raw = ""
        request = HTTPRequest(
            self.url + path,
            method=method,
            body=raw,
            headers=sent,
            request_timeout=90,
            follow_redirects=False,
            streaming_callback=on_chunk,
        )
        return await AsyncHTTPClient().fetch(request, raise_error=False)

    async def json(self, path: str, **options: Any) -> Any:
        """The JSON of an answer that must be 2xx."""
        response = await self.fetch(path, **options)
        assert 200 <= response.code < 300, (response.code, response.body)
        return json.loads(response.body)

    async def stream(self, path: str, **options: Any) -> list[tuple[float, dict[str, Any]]]:
        """(seconds after the request, event) of an NDJSON answer."""
        loop = asyncio.get_running_loop()
        started, events, rest = loop.time(), [], bytearray()

        def on_chunk(chunk: bytes) -> None:
            rest.extend(chunk)
            while (end := rest.find(b"\n")) >= 0:
                line = bytes(rest[:end])
                del rest[: end + 1]
                if line.strip():
                    events.append((loop.time() - started, json.loads(line)))

        response = await self.fetch(path, on_chunk=on_chunk, **options)
        assert response.code == 200, (response.code, response.body, bytes(rest))
        assert not rest
        return events

    def add_kernel(self, name: str, argv: list[str], env: dict[str, str] | None = None) -> None:
        """Installs a kernel spec."""
        folder = self.data / "kernels" / name
        folder.mkdir(parents=True)
        spec = {"argv": argv, "display_name": name, "language": "python", "env": env or {}}
        (folder / "kernel.json").write_text(json.dumps(spec))


@pytest.fixture
def jupyter_config() -> dict[str, Any]:
    """Overridden by a test that wants other settings."""
    return {}


@pytest.fixture
async def jupyter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jupyter_config: dict[str, Any]
) -> AsyncIterator[Jupyter]:
    """The server; it is gone, with what it started, when the test ends."""
    folders = {name: tmp_path / name for name in ("home", "data", "runtime", "config")}
    folders["work"] = folders["home"] / "work"
    for folder in folders.values():
        folder.mkdir(exist_ok=True)
    monkeypatch.setenv("HOME", str(folders["home"]))
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(folders["data"]))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(folders["runtime"]))
    monkeypatch.setenv("JUPYTER_CONFIG_DIR", str(folders["config"]))
    monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")
    monkeypatch.delenv("JUPYTER_PREFER_ENV_PATH", raising=False)

    config = Config(jupyter_config)
    config.IdentityProvider.token = TOKEN
    config.NotebookNotary.db_file = ":memory:"
    config.ServerApp.jpserver_extensions = {"server_ext": True}
    ServerApp.clear_instance()
    app = ServerApp.instance(
        base_url=BASE,
        root_dir=str(folders["work"]),
        open_browser=False,
        allow_root=True,
        config=config,
    )
    app.init_signal = lambda: None
    app.initialize(argv=[], find_extensions=False, new_httpserver=False)
    app.start_app()
    await app.extension_manager.start_all_extensions()
    server = HTTPServer(app.web_app)
    sockets = bind_sockets(0, "127.0.0.1")
    server.add_sockets(sockets)
    port = sockets[0].getsockname()[1]
    yield Jupyter(app, folders["work"], folders["data"], folders["home"], port)
    server.stop()
    await server.close_all_connections()
    await app._cleanup()
    app.kernel_manager.context.destroy()
    ServerApp.clear_instance()


@pytest.fixture
def started_by_a_hub(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes a server Ada's, as the spawner would; `jupyter.visitor` is whose the token is."""

    def make(jupyter: Any, service_url: str, server: str = "") -> None:
        monkeypatch.setenv("GPUCAMP_SERVICE_URL", service_url)
        monkeypatch.setenv("JUPYTERHUB_API_TOKEN", "the server's token")
        monkeypatch.setenv("JUPYTERHUB_USER", "ada")
        monkeypatch.setenv("JUPYTERHUB_SERVER_NAME", server)
        jupyter.visitor = "ada"

        async def visitor(handler: Any) -> User | None:
            known = "Authorization" in handler.request.headers
            return User(username=jupyter.visitor) if known else None

        monkeypatch.setattr(jupyter.app.identity_provider, "get_user_token", visitor)

    return make
