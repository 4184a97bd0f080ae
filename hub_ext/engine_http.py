"""Connections to a Docker Engine that can be cut at any moment, unlike engine.py's calls.

What this module guarantees: when an await is cancelled, or this process ends, the connection is
closed, which the Engine sees; whatever goes wrong with a connection is EngineUnavailable.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import aiohttp

from .errors import EngineRefused, EngineUnavailable

DEFAULT_ADDRESS = "unix:///var/run/docker.sock"
ANSWER_SECONDS = 10.0


@asynccontextmanager
async def session_with(address: str | None) -> AsyncIterator[tuple[aiohttp.ClientSession, str]]:
    """Connections to an Engine, and the beginning of its addresses; None: that of DOCKER_HOST or
    the local one. Raises EngineUnavailable for an address of another kind."""
    address = address or os.environ.get("DOCKER_HOST") or DEFAULT_ADDRESS
    connector: aiohttp.BaseConnector
    if address.startswith("unix://"):
        connector, base = (
            aiohttp.UnixConnector(address.removeprefix("unix://")),
            "http://engine",
        )
    elif address.startswith(("tcp://", "http://", "https://")):
        secure = await asyncio.to_thread(_tls) if not address.startswith("http://") else None
        host = address.partition("://")[2].rstrip("/")
        connector = aiohttp.TCPConnector(ssl=secure or True)
        base = f"{'https' if secure else 'http'}://{host}"
    else:
        raise EngineUnavailable(f"DOCKER_HOST={address!r} is not supported: unix:// or tcp://.")
    limits = aiohttp.ClientTimeout(total=None, sock_connect=ANSWER_SECONDS)
    async with aiohttp.ClientSession(
        connector=connector, timeout=limits, cookie_jar=aiohttp.DummyCookieJar()
    ) as session:
        yield session, base


def _tls() -> ssl.SSLContext | None:
    """As the docker command does it."""
    if not os.environ.get("DOCKER_TLS_VERIFY"):
        return None
    folder = Path(os.environ.get("DOCKER_CERT_PATH") or Path.home() / ".docker")
    context = ssl.create_default_context(cafile=str(folder / "ca.pem"))
    context.load_cert_chain(str(folder / "cert.pem"), str(folder / "key.pem"))
    return context


@contextmanager
def told_as_unavailable() -> Iterator[None]:
    """What goes wrong with a connection, or with what came by it."""
    try:
        yield
    except (aiohttp.ClientError, OSError, KeyError, ValueError) as error:
        raise EngineUnavailable(
            f"The Docker Engine did not answer ({type(error).__name__}: {error})."
        ) from error


async def refusal_of(response: aiohttp.ClientResponse) -> EngineRefused:
    """The error that an answer tells, in the Engine's words."""
    try:
        words = str((await response.json())["message"])
    except (aiohttp.ClientError, ValueError, KeyError, TypeError):
        words = f"The Docker Engine answered with status {response.status}."
    return EngineRefused(words, response.status)
