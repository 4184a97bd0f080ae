"""A Docker Engine on a Unix socket: answers what a test tells it to, remembers the calls."""

from __future__ import annotations

import json
import socketserver
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

Answer = tuple[int, Any]


class FakeEngine:
    """Answers in a thread while its `with` block runs.

    `routes` maps "METHOD /path" to (status, body), or to a function of (query, body) that makes it.
    """

    def __init__(self, folder: Path, routes: dict[str, Any]) -> None:
        self.socket = folder / "engine.sock"
        self.routes = routes
        self.calls: list[tuple[str, Any]] = []
        self.delay = 0.0
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _answer(self) -> None:
                parts = urlsplit(self.path)
                raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                body = json.loads(raw) if raw else None
                key = f"{self.command} {parts.path}"
                fake.calls.append((key, body if body is not None else parse_qs(parts.query)))
                time.sleep(fake.delay)
                answer = fake.routes.get(key, (404, {"message": f"no such thing: {key}"}))
                if callable(answer):
                    answer = answer(parse_qs(parts.query), body)
                status, content = answer
                data = b"" if content is None else json.dumps(content).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_DELETE = _answer

            def log_message(self, *_: object) -> None:
                pass

            def address_string(self) -> str:
                return "unix"

        class Server(socketserver.ThreadingUnixStreamServer):
            daemon_threads = True

        self._server = Server(str(self.socket), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> FakeEngine:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


Route = Callable[[dict[str, list[str]], Any], Answer]
