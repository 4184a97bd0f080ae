"""Runs a command in a container, for as long as somebody waits for it.

What this module guarantees:

- What comes back is bounded: at most `most_bytes` of stdout, and the end of stderr; `stream` has
  no more than `most_ahead` in memory.
- When the await is cancelled, or this process ends, the connection to the Engine is closed and the
  command's stdin with it. The Engine kills no command: one that must not be left behind watches its
  stdin, or has a time limit of its own.
- An Engine that does not answer, or stops answering in the middle, is EngineUnavailable; whether
  the command ran is then unknown.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp

from .engine_http import ANSWER_SECONDS, refusal_of, session_with, told_as_unavailable
from .errors import EngineUnavailable, GpucampError

EXIT_SECONDS = 5.0  # for the exit code, after the output has ended
STDERR_BYTES = 4096
MOST_AHEAD = 2**22

_HEADER = struct.Struct(">BxxxL")  # the Engine's frames: stream, length
_STDOUT, _STDERR = 1, 2


class OutputTooLong(GpucampError):
    """The command wrote more than it may."""


class ContainerNotRunning(GpucampError):
    """The container is gone, stopped or paused."""


@dataclass(frozen=True, slots=True)
class Done:
    """How a command ended. stderr: its last bytes."""

    exit_code: int
    stdout: bytes
    stderr: bytes


class EngineExec:
    """Commands in containers of one Engine; by default that of DOCKER_HOST or the local one."""

    def __init__(self, address: str | None = None) -> None:
        self._address = address

    async def run(
        self,
        container: str,
        command: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        most_bytes: int,
    ) -> Done:
        """Run it as the container's own user, with its own variables and `environment`.

        Raises EngineUnavailable, EngineRefused, ContainerNotRunning, OutputTooLong.
        """
        output = _Output(most_bytes)
        with told_as_unavailable():
            async with session_with(self._address) as (session, base):
                address = await _make(session, base, container, command, environment or {})
                async for chunk in _chunks(session, address):
                    output.feed(chunk)
                code = await self._exit_code(session, address)
                return Done(code, bytes(output.stdout), bytes(output.stderr))

    async def stream(
        self, container: str, command: Sequence[str], *, most_ahead: int = MOST_AHEAD
    ) -> AsyncIterator[bytes]:
        """What it writes to stdout, as fast as it is taken, at most `most_ahead` bytes ahead of
        that. Raises as `run`, but OutputTooLong.
        """
        output = _Output(most_ahead)
        with told_as_unavailable():
            async with session_with(self._address) as (session, base):
                address = await _make(session, base, container, command, {})
                async for chunk in _chunks(session, address):
                    output.feed(chunk)
                    if output.stdout:
                        yield bytes(output.stdout)
                        output.stdout.clear()

    async def _exit_code(self, session: aiohttp.ClientSession, address: str) -> int:
        """The output may have ended because the Engine was lost: then the command still runs."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + EXIT_SECONDS
        while True:
            found = await _json(session, "GET", f"{address}/json")
            if found.get("Running") is False and isinstance(found.get("ExitCode"), int):
                return int(found["ExitCode"])
            if loop.time() >= deadline:
                raise EngineUnavailable("The Docker Engine lost the output of a command.")
            await asyncio.sleep(0.1)


async def _make(
    session: aiohttp.ClientSession,
    base: str,
    container: str,
    command: Sequence[str],
    environment: Mapping[str, str],
) -> str:
    """The address of a command that was not started yet."""
    request = {
        "AttachStdin": True,
        "AttachStdout": True,
        "AttachStderr": True,
        "Tty": False,
        "Cmd": list(command),
        "Env": [f"{name}={value}" for name, value in environment.items()],
    }
    made = await _json(session, "POST", f"{base}/containers/{container}/exec", request)
    return f"{base}/exec/{made['Id']}"


async def _chunks(session: aiohttp.ClientSession, address: str) -> AsyncIterator[bytes]:
    """Starts a command; the Engine's frames, as they come."""
    async with session.post(f"{address}/start", json={"Detach": False, "Tty": False}) as response:
        await _require_good(response)
        async for chunk in response.content.iter_any():
            yield chunk


async def _json(
    session: aiohttp.ClientSession, method: str, url: str, body: Any = None
) -> dict[str, Any]:
    try:
        async with (
            asyncio.timeout(ANSWER_SECONDS),
            session.request(method, url, json=body) as response,
        ):
            await _require_good(response)
            value = await response.json()
    except TimeoutError as error:
        raise EngineUnavailable(
            f"The Docker Engine did not answer within {ANSWER_SECONDS:g} seconds."
        ) from error
    if not isinstance(value, dict):
        raise EngineUnavailable("The Docker Engine gave an answer that is no JSON object.")
    return value


async def _require_good(response: aiohttp.ClientResponse) -> None:
    if response.status < 300:
        return
    error = await refusal_of(response)
    if response.status in (404, 409):  # gone; stopped or paused
        raise ContainerNotRunning(str(error))
    raise error


class _Output:
    """Takes the Engine's frames apart, as they come."""

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self._header = bytearray()
        self._stream = 0
        self._left = 0  # of the present frame
        self.stdout = bytearray()
        self.stderr = bytearray()

    def feed(self, chunk: bytes) -> None:
        """Raises OutputTooLong, and ValueError for what is no frame."""
        view = memoryview(chunk)
        while view:
            if self._left == 0:
                taken = view[: _HEADER.size - len(self._header)]
                self._header += taken
                view = view[len(taken) :]
                if len(self._header) < _HEADER.size:
                    return
                self._stream, self._left = _HEADER.unpack(self._header)
                if self._stream > _STDERR or any(self._header[1:4]):
                    raise ValueError("its output is garbled")
                self._header.clear()
            part = view[: self._left]
            self._left -= len(part)
            view = view[len(part) :]
            if self._stream == _STDERR:
                self.stderr = (self.stderr + part)[-STDERR_BYTES:]
            elif self._stream == _STDOUT:
                if len(self.stdout) + len(part) > self._most:
                    raise OutputTooLong(f"The command wrote more than {self._most} bytes.")
                self.stdout += part
