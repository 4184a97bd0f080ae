"""A stand-in for a registry: it has one image, by digest, and gives it over HTTP on 127.0.0.1.

Engines take a registry on loopback without TLS. It is read-only and knows what a pull asks for: the
manifest, the configuration and the layers. It fails when it is told to: `away` (nobody listens),
`unknown` (it has no such image), `altered` (another manifest than the digest says), and `held` (a
large layer comes slowly, and stops half-way until that ends). `served` counts the answers that
were given to the end.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import json
import secrets
import tarfile
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
CONFIG = "application/vnd.docker.container.image.v1+json"
LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
NAME = "gpucamp-test/pulled"
LARGE = 4_000_000  # bytes of a layer that `held` stops
PIECE = 300_000  # bytes of one that come every PAUSE while it lasts, since Engines tell few steps
PAUSE = 0.1


class StandInRegistry:
    """Answers while its `with` block runs. `layers` are tar archives, `config` an image's."""

    def __init__(self, layers: Sequence[bytes], config: Mapping[str, object]) -> None:
        self._diff_ids = [_digest(layer) for layer in layers]
        self._packed = [gzip.compress(layer, compresslevel=1, mtime=0) for layer in layers]
        self.configure(config)
        self.served: Counter[str] = Counter()  # by digest
        self.unknown = self.altered = False
        self._go_on = threading.Event()
        self._go_on.set()
        self._server = self._listen(0)
        self.port = self._server.server_port

    def configure(self, config: Mapping[str, object]) -> None:
        """Have an image of the same layers with this configuration instead."""
        image = {
            "architecture": "amd64",
            "os": "linux",
            "config": config,
            "rootfs": {"type": "layers", "diff_ids": self._diff_ids},
        }
        configuration = json.dumps(image).encode()
        self._blobs = {_digest(each): each for each in (configuration, *self._packed)}
        self._manifest = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "config": _descriptor(CONFIG, configuration),
                "layers": [_descriptor(LAYER, each) for each in self._packed],
            }
        ).encode()
        self.digest = _digest(self._manifest)

    @property
    def image(self) -> str:
        """Its name by digest."""
        return f"127.0.0.1:{self.port}/{NAME}@{self.digest}"

    @contextlib.contextmanager
    def away(self) -> Iterator[None]:
        """Nobody listens meanwhile."""
        self._end()
        try:
            yield
        finally:
            self._server = self._listen(self.port)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """A large layer comes slowly, and stops half-way, until the block ends."""
        self._go_on.clear()
        try:
            yield
        finally:
            self._go_on.set()

    def answer(self, path: str) -> tuple[int, str, bytes]:
        """Status, type and body for a path of the protocol."""
        kind, _slash, reference = path.removeprefix(f"/v2/{NAME}/").partition("/")
        if path == "/v2/":
            return 200, "application/json", b"{}"
        if kind == "manifests" and reference == self.digest and not self.unknown:
            return 200, MANIFEST, self._manifest + (b" " if self.altered else b"")
        if kind == "blobs" and reference in self._blobs:
            return 200, "application/octet-stream", self._blobs[reference]
        code = "MANIFEST_UNKNOWN" if kind == "manifests" else "BLOB_UNKNOWN"
        errors = {"errors": [{"code": code, "message": f"{kind[:-1]} unknown"}]}
        return 404, "application/json", json.dumps(errors).encode()

    def _listen(self, port: int) -> ThreadingHTTPServer:
        registry = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                status, kind, body = registry.answer(self.path)
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.send_header("Docker-Distribution-Api-Version", "registry/2.0")
                self.end_headers()
                if self.command == "HEAD":
                    return
                sent = 0
                while not registry._go_on.wait(PAUSE) and len(body) >= LARGE:
                    if sent < len(body) // 2:
                        self.wfile.write(body[sent : sent + PIECE])
                        sent += PIECE
                self.wfile.write(body[sent:])
                registry.served[_digest(body)] += 1

            do_HEAD = do_GET

            def log_message(self, *_: Any) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return server

    def _end(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def __enter__(self) -> StandInRegistry:
        return self

    def __exit__(self, *_: object) -> None:
        self._go_on.set()
        self._end()


def padding(size: int) -> bytes:
    """A layer with so many bytes that no Engine has."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        member = tarfile.TarInfo("padding")
        member.size = size
        tar.addfile(member, io.BytesIO(secrets.token_bytes(size)))
    return buffer.getvalue()


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _descriptor(kind: str, content: bytes) -> dict[str, object]:
    return {"mediaType": kind, "size": len(content), "digest": _digest(content)}
