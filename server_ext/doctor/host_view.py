"""The facts "host": what the service knows of this server's devices from outside of its container.

Guarantees: an answer or the reason for none within SECONDS; never raises; only fields that are
listed here, each of its kind, get into the report. The server's token goes to the service alone.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..errors import GpucampServerError, ServiceUnavailable
from .facts import Failure, ProbeResult, integer_of, text_of
from .threads import in_thread

if TYPE_CHECKING:
    from ..service_client import ServiceClient

NAME = "host"
SECONDS = 2.0
MOST_DEVICES = 64
MOST_ENTRIES = 64  # XIDs, or holders of memory, of a device

_NODE = re.compile(r"nvidia[a-z0-9*-]{0,40}", re.ASCII)
_TEXTS = ("uuid", "name", "state", "reason", "driver_version", "cuda_version", "compute_mode")
_FLAGS = ("simulated", "mig", "shared", "persistence")
_NUMBERS = ("memory_bytes", "memory_used_bytes")


async def ask(environ: Mapping[str, str], seconds: float = SECONDS) -> ProbeResult:
    """Asks with the token of the server's environment.

    {"asked": False} where there is nothing to ask: no hub of gpucamp started this server, or it has
    no GPU; else {"asked": True, "looked_at", "devices"}, or a failure.
    """
    started = time.monotonic()
    if not environ.get("GPUCAMP_SERVICE_URL") or environ.get("GPUCAMP_DEVICES") == "":
        return ProbeResult(NAME, value={"asked": False})
    try:
        client = (await in_thread(_client)).from_environment(environ)
    except ServiceUnavailable:
        return ProbeResult(NAME, value={"asked": False})
    failure: Failure
    try:
        async with asyncio.timeout(seconds):
            answer = await client.call("GET", "/host-view")
        return ProbeResult(NAME, time.monotonic() - started, reduce(answer.body))
    except TimeoutError:
        failure = Failure("timeout", f"the gpucamp service gave no answer within {seconds:g} s")
    except GpucampServerError as error:
        failure = Failure("not-started", f"{type(error).__name__}: {error}")
    return ProbeResult(NAME, time.monotonic() - started, failure=failure)


def _client() -> type[ServiceClient]:
    """Imported late and off the event loop: in a terminal, an HTTP client takes time to load."""
    from ..service_client import ServiceClient

    return ServiceClient


def reduce(body: Mapping[str, Any]) -> dict[str, object]:
    """The facts of an answer, whatever the service (of another version, say) sent."""
    return {
        "asked": True,
        "looked_at": text_of(body, "looked_at"),
        "toolkit_version": text_of(_object(body, "host"), "toolkit_version"),
        "persistenced": _flag(_object(body, "host"), "persistenced"),
        "missing_nodes": _names(_object(body, "nodes"), "missing"),
        "devices": [_device(each) for each in _objects(body, "devices", MOST_DEVICES)],
    }


def _device(body: Mapping[str, Any]) -> dict[str, object]:
    holders = body.get("holders")
    return {
        **{name: text_of(body, name) for name in _TEXTS},
        **{name: _flag(body, name) for name in _FLAGS},
        **{name: integer_of(body, name) for name in _NUMBERS},
        "xids": [
            {name: each.get(name) for name in ("xid", "at", "text")}
            for each in _objects(body, "xids", MOST_ENTRIES)
            if integer_of(each, "xid") is not None
        ],
        "holders": [
            {
                "holder": text_of(each, "holder"),
                **{name: integer_of(each, name) for name in ("pid", "processes", "memory_bytes")},
            }
            for each in _objects(body, "holders", MOST_ENTRIES)
        ]
        if isinstance(holders, list)
        else None,
    }


def _flag(body: Mapping[str, Any], name: str) -> bool | None:
    value = body.get(name)
    return value if isinstance(value, bool) else None


def _object(body: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = body.get(name)
    return value if isinstance(value, Mapping) else {}


def _names(body: Mapping[str, Any], name: str) -> list[str]:
    """Of device nodes."""
    value = body.get(name)
    names = value[:MOST_ENTRIES] if isinstance(value, list) else []
    return [each for each in names if isinstance(each, str) and _NODE.fullmatch(each)]


def _objects(body: Mapping[str, Any], name: str, most: int) -> list[Mapping[str, Any]]:
    value = body.get(name)
    if not isinstance(value, list):
        return []
    return [each for each in value if isinstance(each, Mapping)][:most]
