"""Pulls an image for as long as somebody waits for it.

What this module guarantees: when the await is cancelled, or this process ends, the connection to
the Engine is closed, and the Engine gives the pull up unless somebody else waits for it; layers
that were complete are there for the next one. A registry's password is that of the Docker command
of whoever runs this process (`docker login`).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import aiohttp
import docker.auth
import docker.errors

from .engine_http import refusal_of, session_with, told_as_unavailable
from .errors import EngineRefused, EngineUnavailable, ImageMissing
from .pulling import Layers, PullProgress, is_unknown

LONGEST_LINE = 2**20


class EnginePull:
    """Pulls by digest, on one Engine; by default that of DOCKER_HOST or the local one."""

    def __init__(self, address: str | None = None) -> None:
        self._address = address

    async def pull(self, image: str, report: Callable[[PullProgress], None]) -> None:
        """Returns when repository@sha256:… is on the Engine.

        Raises ImageMissing, EngineUnavailable, EngineRefused; with the first, no registry has it.
        """
        repository, _at, digest = image.partition("@")
        layers = Layers()
        try:
            with told_as_unavailable():
                headers = await asyncio.to_thread(_credentials, repository)
                async with (
                    session_with(self._address) as (session, base),
                    session.post(
                        f"{base}/images/create",
                        params={"fromImage": repository, "tag": digest},
                        headers=headers,
                    ) as response,
                ):
                    if response.status >= 300:
                        raise await refusal_of(response)
                    async for line in _lines(response):
                        progress = layers.take(line)
                        if progress is not None:
                            report(progress)
        except EngineRefused as error:
            # some Engines answer 500 if a registry does not know a digest
            if error.status == 404 or is_unknown(str(error)):
                raise ImageMissing(f"No registry has image {image}: {error}") from error
            raise


async def _lines(response: aiohttp.ClientResponse) -> AsyncIterator[Mapping[str, Any]]:
    """The JSON objects of the answer. Raises ValueError for anything else."""
    rest = bytearray()
    async for chunk in response.content.iter_any():
        rest += chunk
        *whole, rest = rest.split(b"\n")
        for line in filter(None, map(bytes.strip, map(bytes, whole))):
            yield _object(line)
        if len(rest) > LONGEST_LINE:
            raise EngineUnavailable("The Docker Engine's answer has no end.")
    if rest.strip():
        yield _object(bytes(rest))


def _object(line: bytes) -> Mapping[str, Any]:
    value = json.loads(line)
    if not isinstance(value, dict):
        raise ValueError("no JSON object")
    return value


def _credentials(repository: str) -> dict[str, str]:
    """What a registry asks for, from the configuration of the Docker command."""
    try:
        registry, _name = docker.auth.resolve_repository_name(repository)
        found = docker.auth.load_config().resolve_authconfig(registry)
    except docker.errors.DockerException as error:
        raise EngineRefused(f"The password for {repository} cannot be read: {error}") from error
    return {"X-Registry-Auth": docker.auth.encode_header(found).decode()} if found else {}
