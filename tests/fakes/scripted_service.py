"""Stands in for the gpucamp service: answers as it is told, and remembers what it was asked."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tornado import web
from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPServerRequest
from tornado.netutil import bind_sockets


class ScriptedService:
    """`status`, `body` (JSON, or bytes as they are), `headers` and `delay` of every answer."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, str | None, bytes]] = []
        self.status = 200
        self.body: Any = {"generation": 3, "can_undo": True}
        self.headers: dict[str, str] = {}
        self.delay = 0.0
        self.port = 0
        outer = self

        class Handler(web.RequestHandler):
            async def prepare(self) -> None:
                request = self.request
                token = request.headers.get("Authorization")
                outer.asked.append((request.method, request.path, token, request.body))
                status, body = outer.answer(request)
                await asyncio.sleep(outer.delay)
                self.set_status(status)
                for name, value in outer.headers.items():
                    self.set_header(name, value)
                self.finish(body if isinstance(body, bytes) else json.dumps(body))

        self.app = web.Application([(r".*", Handler)])

    @property
    def url(self) -> str:
        """What a server is told as the service's address."""
        return f"http://127.0.0.1:{self.port}/services/gpucamp/"

    def answer(self, request: HTTPServerRequest) -> tuple[int, Any]:
        """Status and body for a request."""
        return self.status, self.body

    @asynccontextmanager
    async def serving(self, port: int = 0) -> AsyncIterator[None]:
        """Listens on a port of 127.0.0.1 meanwhile."""
        server = HTTPServer(self.app)
        sockets = bind_sockets(port, "127.0.0.1")
        self.port = sockets[0].getsockname()[1]
        server.add_sockets(sockets)
        try:
            yield
        finally:
            server.stop()
            await server.close_all_connections()
