"""A proxy before the Docker Engine's socket that makes things go wrong, request by request.

The Engine behind it is real and shared, so nothing else notices. Faults are named after what the
caller experiences: `error` (a status, no effect), `lost_reply` (the effect, then a cut connection),
`refused` (no effect, a cut connection), `silent` (no effect, no answer, until `heal`), `slow` (the
effect after some seconds). With an `act` something is done at that moment: before the effect that
does not come, or after one whose reply is lost; such as to kill the caller.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

ENGINE_SOCKET = "/var/run/docker.sock"


@dataclass
class Fault:
    """Applies to requests whose "METHOD path" matches; `times` of them, or all (None)."""

    pattern: re.Pattern[str]
    kind: str
    status: int = 500
    times: int | None = None
    act: Callable[[], object] | None = None
    seconds: float = 0
    seen: int = 0

    def takes(self, request: str) -> bool:
        if (self.times is not None and self.seen >= self.times) or not self.pattern.search(request):
            return False
        self.seen += 1
        return True


class EngineFaultProxy:
    """Listens on `socket` from `start` to `stop`, in a thread of its own."""

    def __init__(self, socket: Path, engine_socket: str = ENGINE_SOCKET) -> None:
        self.address = f"unix://{socket}"
        self.requests: list[str] = []
        self._socket = socket
        self._engine_socket = engine_socket
        self._faults: list[Fault] = []
        self._connections: set[asyncio.Task[None]] = set()
        self._healed: asyncio.Event | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._ready = threading.Event()
        self._stopped: asyncio.Event | None = None

    def start(self) -> None:
        self._thread.start()
        assert self._ready.wait(5)

    def stop(self) -> None:
        self.heal()
        if self._stopped is not None:
            self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join(5)

    # -- faults

    def fail(
        self,
        pattern: str,
        kind: str,
        *,
        status: int = 500,
        times: int | None = None,
        act: Callable[[], object] | None = None,
        seconds: float = 0,
    ) -> Fault:
        """From now on; a later one comes first."""
        assert kind in ("error", "lost_reply", "refused", "silent", "slow")
        assert act is None or kind in ("refused", "lost_reply")
        fault = Fault(re.compile(pattern), kind, status, times, act, seconds)
        self._faults.insert(0, fault)
        return fault

    def heal(self) -> None:
        """No more faults; silent requests are cut."""
        self._faults.clear()
        healed = self._healed
        if healed is not None:
            self._loop.call_soon_threadsafe(healed.set)

    @contextlib.contextmanager
    def away(self) -> Iterator[None]:
        """The Engine does not answer anything."""
        self.fail("", "refused")
        try:
            yield
        finally:
            self.heal()

    # -- inside

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        self._healed, self._stopped = asyncio.Event(), asyncio.Event()
        server = await asyncio.start_unix_server(self._connection, str(self._socket))
        self._ready.set()
        await self._stopped.wait()
        server.close()
        for task in tuple(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            await self._one_request(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # asyncio's streams log a cancelled handler as an error
        finally:
            self._connections.discard(task)
            writer.close()

    async def _one_request(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        method, target, _version = lines[0].split(" ", 2)
        request = f"{method} {unquote(target)}"
        headers = dict(line.split(": ", 1) for line in lines[1:] if ": " in line)
        length = int({k.lower(): v for k, v in headers.items()}.get("content-length", "0"))
        body = await reader.readexactly(length)
        self.requests.append(request)
        fault = next((each for each in tuple(self._faults) if each.takes(request)), None)
        if fault is not None and fault.kind == "slow":
            await asyncio.sleep(fault.seconds)
            fault = None
        if fault is not None and fault.kind != "lost_reply":
            if fault.act is not None:
                await asyncio.to_thread(fault.act)
            if fault.kind == "silent":
                assert self._healed is not None
                self._healed.clear()
                await self._healed.wait()
            elif fault.kind == "error":
                text = b'{"message":"made to fail by a test"}'
                writer.write(
                    b"HTTP/1.1 %d Fault\r\nContent-Type: application/json\r\n"
                    b"Content-Length: %d\r\nConnection: close\r\n\r\n%s"
                    % (fault.status, len(text), text)
                )
                await writer.drain()
            return
        up_reader, up_writer = await asyncio.open_unix_connection(self._engine_socket)
        try:
            kept = [line for line in lines[:-2] if not line.lower().startswith("connection:")]
            up_writer.write("\r\n".join([*kept, "Connection: close", "", ""]).encode("latin-1"))
            up_writer.write(body)
            await up_writer.drain()
            while chunk := await up_reader.read(65536):
                if fault is None:
                    writer.write(chunk)
                    await writer.drain()
            if fault is not None and fault.act is not None:
                await asyncio.to_thread(fault.act)
        finally:
            up_writer.close()
