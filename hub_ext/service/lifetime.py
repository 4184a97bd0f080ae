"""When the service begins and ends: its port, its ledger, and the hub that started it.

Guarantees: the one process that has the port is the one service that works; a service outlives the
hub that started it by a second or two only.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sys
from contextlib import suppress
from urllib.parse import urlparse

from tornado.netutil import bind_sockets

from ..errors import LedgerUnavailable
from ..ledger import Ledger

LOOK_SECONDS = 1.0  # between two looks at the port, and at the hub that started this
PORT_ATTEMPTS = 10
LEDGER_SECONDS = 3.0  # between two attempts to open the ledger

_log = logging.getLogger(__name__)


async def listen(service_url: str, stop: asyncio.Event) -> list[socket.socket]:
    """The port, as soon as a service that is ending has left it. Exits if it does not get free."""
    url = urlparse(service_url)
    for attempt in range(1, PORT_ATTEMPTS + 1):
        try:
            return bind_sockets(url.port or 80, url.hostname)
        except OSError as error:
            if attempt == PORT_ATTEMPTS or stop.is_set():
                sys.exit(
                    f"Cannot listen on {service_url}: {error.strerror}. Find what has the "
                    "port (ss -ltnp) and end it, or set another GPUCAMP_SERVICE_PORT."
                )
            _log.warning("Waiting for %s: %s", service_url, error.strerror)
        await asyncio.sleep(LOOK_SECONDS)
    raise AssertionError("unreachable: the last attempt returns or exits")


async def end_with_hub(hub: int, stop: asyncio.Event) -> None:
    """A hub that was killed leaves this process behind, with a token that is void soon."""
    if "JUPYTERHUB_SERVICE_NAME" not in os.environ:
        return  # started by hand
    while os.getppid() == hub:
        with suppress(TimeoutError):
            async with asyncio.timeout(LOOK_SECONDS):
                await stop.wait()
            return
    _log.warning("The hub that started this service is gone: ending, too.")
    stop.set()


async def open_ledger(ledger: Ledger) -> str:
    """Wait for the ledger; its hub's id."""
    while True:
        try:
            await asyncio.to_thread(ledger.migrate)
            return await asyncio.to_thread(ledger.hub_id)
        except LedgerUnavailable as error:
            _log.error("Waiting for the ledger. %s", error)
            await asyncio.sleep(LEDGER_SECONDS)
