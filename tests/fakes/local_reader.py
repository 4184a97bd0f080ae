"""Runs the reader of kept environments on this host, on a folder in the place of a volume."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence

from hub_ext.engine_exec import Done


class LocalReader:
    """As EngineExec; the container's id is the folder. `cut`: how many bytes get through."""

    cut: int | None = None
    hangs = False

    async def run(self, container: str, command: Sequence[str], *, most_bytes: int) -> Done:
        return Done(0, await self._out(container, command), b"")

    async def stream(self, container: str, command: Sequence[str]) -> AsyncIterator[bytes]:
        out = (await self._out(container, command))[: self.cut]
        for start in range(0, len(out), 10_000):
            yield out[start : start + 10_000]

    async def _out(self, folder: str, command: Sequence[str]) -> bytes:
        if self.hangs:
            await asyncio.sleep(3600)
        _python, *options, source, action, path = command
        source = source.replace('ROOT = "/kept"', f"ROOT = {folder!r}")
        argv = [sys.executable, *options, source, action, path]
        done = await asyncio.to_thread(subprocess.run, argv, capture_output=True, check=True)
        return bytes(done.stdout)
