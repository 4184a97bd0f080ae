"""A child process that asyncio did not start, in asyncio's terms.

Guarantees: `wait` reaps it once and gives what `asyncio.subprocess.Process.wait` gives; may be
cancelled and called again. Needs no child watcher and no thread.
"""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress
from typing import IO

# it is waited for only when its output has ended, or when it was killed: that is a moment
_POLL_SECONDS = 0.005


class Adopted:
    """As asyncio.subprocess.Process, as far as probing.py asks."""

    def __init__(
        self,
        pid: int,
        stdout: asyncio.StreamReader,
        stderr: asyncio.StreamReader,
        transports: tuple[asyncio.BaseTransport, ...],
    ) -> None:
        """pid: of a child of this process; transports: what feeds the readers."""
        self.pid, self.stdout, self.stderr = pid, stdout, stderr
        self.returncode: int | None = None
        self._transports = transports

    async def wait(self) -> int:
        """Its status; minus the signal that ended it."""
        while self.returncode is None:
            try:
                pid, status = os.waitpid(self.pid, os.WNOHANG)  # noqa: ASYNC222 - does not wait
            except ChildProcessError:  # somebody else reaped it: its status is lost
                pid, status = self.pid, 255 << 8
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
            else:
                await asyncio.sleep(_POLL_SECONDS)
        return self.returncode

    def close(self) -> None:
        """Closes its pipes."""
        for transport in self._transports:
            transport.close()


async def adopt(pid: int, stdout: int, stderr: int) -> Adopted:
    """The child with this pid; its pipes, of which `stdout` and `stderr` are the ends to read from,
    are closed with it. Cancelled meanwhile, it leaves neither the child's group nor the pipes.
    """
    files = [os.fdopen(descriptor, "rb", 0) for descriptor in (stdout, stderr)]
    readers, transports = [], []
    try:
        for file in files:
            reader, transport = await _reader(file)
            readers.append(reader)
            transports.append(transport)
    except BaseException:
        with suppress(OSError):
            os.killpg(pid, signal.SIGKILL)
        for transport in transports:
            transport.close()
        for file in files[len(transports) :]:
            file.close()
        raise
    return Adopted(pid, readers[0], readers[1], tuple(transports))


async def _reader(file: IO[bytes]) -> tuple[asyncio.StreamReader, asyncio.BaseTransport]:
    reader = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), file
    )
    return reader, transport
