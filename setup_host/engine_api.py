"""The Docker Engine's HTTP API, as far as the set-up needs it, with the standard library.

Guarantees: a call has a time limit; an answer that is not expected is an `EngineError` with the
Engine's own words; nothing is tried twice.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import ssl
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .errors import SetupError

DEFAULT_SOCKET = "unix:///var/run/docker.sock"


class EngineError(Exception):
    """The Engine answered with an error; `status` is HTTP's, 0 where there was no answer."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Engine:
    """An Engine at a `unix://` or `tcp://` address; `certificates` is a folder for TLS."""

    address: str
    certificates: str = ""
    timeout: float = 60.0
    _headers: dict[str, str] = field(
        default_factory=lambda: {"Host": "docker", "Content-Type": "application/json"}
    )

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Engine:
        """The Engine that DOCKER_HOST names, else the default socket.

        Raises SetupError for an address that this cannot speak to.
        """
        address = environ.get("DOCKER_HOST", "").strip() or DEFAULT_SOCKET
        if not address.startswith(("unix://", "tcp://")):
            raise SetupError(
                f"DOCKER_HOST={address!r} is not supported.",
                "gpucamp needs an Engine on this host: unix:///var/run/docker.sock.",
            )
        certificates = ""
        if environ.get("DOCKER_TLS_VERIFY"):
            certificates = environ.get("DOCKER_CERT_PATH") or str(Path.home() / ".docker")
        return cls(address, certificates)

    @property
    def socket_path(self) -> Path | None:
        """The Unix socket, if it is one."""
        return Path(self.address[7:]) if self.address.startswith("unix://") else None

    def request(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        expect: tuple[int, ...] = (200, 201, 204, 304),
        timeout: float | None = None,
        query: Mapping[str, str] | None = None,
    ) -> Any:
        """One call; the decoded JSON of the answer (text where it is none, None where empty).

        Raises EngineError; `OSError`s of the connection become one with status 0.
        """
        if query:
            path += "?" + urllib.parse.urlencode(query)
        payload = body if isinstance(body, bytes) else None
        if payload is None and body is not None:
            payload = json.dumps(body).encode()
        try:
            connection = self._connect(self.timeout if timeout is None else timeout)
            try:
                connection.request(method, path, payload, self._headers)
                answer = connection.getresponse()
                text = answer.read().decode(errors="replace")
            finally:
                connection.close()
        except (OSError, http.client.HTTPException) as error:
            raise EngineError(0, f"{self.address}: {error}") from error
        try:
            result = json.loads(text) if text.strip() else None
        except ValueError:
            result = text
        if answer.status not in expect:
            message = result.get("message", text) if isinstance(result, dict) else text
            raise EngineError(answer.status, message.strip())
        return result

    def answers(self) -> bool:
        """Whether the Engine is up."""
        try:
            self.request("GET", "/_ping", timeout=5)
        except EngineError:
            return False
        return True

    def _connect(self, timeout: float) -> http.client.HTTPConnection:
        path = self.socket_path
        if path is not None:
            return _UnixConnection(str(path), timeout)
        parts = urllib.parse.urlsplit(self.address)
        host, port = parts.hostname or "localhost", parts.port or 2375
        if not self.certificates:
            return http.client.HTTPConnection(host, port, timeout=timeout)
        folder = Path(self.certificates)
        context = ssl.create_default_context(cafile=str(folder / "ca.pem"))
        context.load_cert_chain(str(folder / "cert.pem"), str(folder / "key.pem"))
        return http.client.HTTPSConnection(host, port, timeout=timeout, context=context)

    def listener(self) -> int | None:
        """Process id of who listens on the Unix socket (systemd, where that opened it)."""
        path = self.socket_path
        if path is None:
            return None
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(5)
            try:
                client.connect(str(path))
                credentials = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
            except OSError:
                return None
        return int.from_bytes(credentials[:4], "little") or None

    def is_denied(self) -> bool:
        """Whether the socket is there and may not be used by us."""
        path = self.socket_path
        return path is not None and path.exists() and not os.access(path, os.R_OK | os.W_OK)


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("docker", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)
