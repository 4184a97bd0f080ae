"""Samples what a run uses for as long as it is watched, and keeps that in the run's folder.

Guarantees: a sample costs a bounded amount of reading, whatever the run writes to its log; the file
is written whole or not at all, every WRITE_SECONDS and at the end, so that a server that dies loses
that much; one that takes a run over goes on with what its file has. Nothing here can end or hold up
a run: what fails is left out. File I/O happens in a thread.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .. import json_file, regular_file
from . import logs
from .gpu_watch import GpuWatch
from .rank_reader import RankReader
from .runs import Run
from .throughput import Throughput
from .usage import Usage, read_record

WRITE_SECONDS = 10.0
GAP_SECONDS = 10.0
LOG_BYTES = 128 * 1024  # of a log that grew are read at once, the last of it
MAXIMUM_FILE_BYTES = 8 * 2**20

# torchrun's words for how a process ended
_ENDED = re.compile(r"exitcode *: (-?\d{1,6})\)?[^\n]{0,40}\(pid: (\d{1,10})\)")
_ASKED = re.compile(r"Sending process (\d{1,10}) closing signal SIG(TERM|KILL)")


def tick_seconds(at: float) -> float:
    """How long to wait for the next sample: short runs get enough of them, too."""
    return 0.5 if at < 10 else 1.0 if at < 60 else 2.0


def endings(log: str) -> dict[int, int]:
    """Exit codes by pid, negative for a signal, as torchrun tells them. Pure."""
    own = "\n".join(line for line in log.splitlines() if not line.startswith("[default"))
    found = {int(pid): -15 if name == "TERM" else -9 for pid, name in _ASKED.findall(own)}
    found.update({int(pid): int(code) for code, pid in _ENDED.findall(own)})
    return found


def load(path: Path) -> Usage | None:
    """What a file keeps; None without one that can be read. Blocking."""
    text = regular_file.read(path, MAXIMUM_FILE_BYTES)
    try:
        return None if text is None else read_record(json.loads(text))
    except (ValueError, RecursionError):
        return None


class Sampler:
    """The usage of one run that this process watches."""

    def __init__(
        self,
        run: Callable[[], Run],
        path: Path,
        log_path: Path,
        gpus: GpuWatch,
        log: logging.Logger,
    ) -> None:
        self.usage: Usage | None = None  # until the file was looked for
        self._run = run
        self._path, self._log_path = path, str(log_path)
        self._gpus, self._log = gpus, log
        self._ranks, self._throughput = RankReader(), Throughput()
        self._offset: int | None = None
        self._rank: int | None = None  # whose line the log was in the middle of
        self._written = 0.0
        self._writing: asyncio.Task[None] | None = None

    async def watch(self) -> None:
        """Takes samples until it is cancelled."""
        try:
            while True:
                await self._sample()
                if time.monotonic() - self._written >= WRITE_SECONDS:
                    await self._write()
                await asyncio.sleep(tick_seconds(self._at()))
        except Exception:  # figures are no reason to end a run
            self._log.exception("Run %s is not sampled any more", self._run().id)

    async def finish(self, exit_code: int | None, said: str) -> None:
        """The run has ended. exit_code: of torchrun; said: the end of its log."""
        try:
            usage = await self._loaded()
            if usage.throughput is None:  # else it would count what came after the last step
                await self._look_at_log(usage)
            found = await asyncio.to_thread(endings, said)
            usage.end(self._at(), found, 0 if exit_code == 0 else None)
            await self._write()
        except Exception:  # nor to lose how it ended
            self._log.exception("The usage of run %s is not whole", self._run().id)

    async def keep(self) -> None:
        """This process ends before the run: keep what it has seen."""
        if self.usage is not None:
            await self._write()

    def _at(self) -> float:
        return max(0.0, time.time() - self._run().started_at)

    async def _loaded(self) -> Usage:
        if self.usage is None:
            usage = await asyncio.to_thread(load, self._path) or Usage()
            at = self._at()
            if usage.times and at - usage.times[-1] > GAP_SECONDS:
                usage.pause(at)
            self.usage = usage
        return self.usage

    async def _sample(self) -> None:
        usage, run, gpus = await self._loaded(), self._run(), self._gpus.latest()
        ranks = await asyncio.to_thread(self._ranks.read, run.members, run.agent, gpus)
        at = self._at()
        rate = await self._look_at_log(usage)
        ours = [one for one in ranks if one.rank < run.processes]
        usage.add(at, ours, [gpu.device for gpu in gpus], rate)

    async def _look_at_log(self, usage: Usage) -> tuple[str, float] | None:
        """The speed since the last look, where it tells one."""
        written = await asyncio.to_thread(self._read_log)
        # what was printed last may be a while ago
        rate = self._throughput.mark(min(self._at(), written - self._run().started_at))
        mean = self._throughput.mean
        if rate is not None and mean is not None:
            usage.throughput = {"unit": rate[0], "mean": mean, "last": rate[1]}
        return rate

    async def _write(self) -> None:
        self._written = time.monotonic()
        if self.usage is None or not self.usage.times:
            return
        if self._writing is not None:
            await asyncio.wait([self._writing])  # an older one must not land after this
        self._writing = asyncio.create_task(self._write_record(self.usage.record()))
        await asyncio.shield(self._writing)

    async def _write_record(self, record: dict[str, Any]) -> None:
        try:
            await asyncio.to_thread(json_file.write, self._path, record, indent=None)
        except OSError as error:
            self._log.warning("%s cannot be written: %s", self._path, error)

    def _read_log(self) -> float:
        """Feeds what is new in the log, or the last of it; when it was written. Blocking."""
        try:
            log = os.stat(self._log_path)
        except OSError:
            return time.time()
        size = log.st_size
        if self._offset is None:
            self._offset = max(0, size - LOG_BYTES)
        skipped = size - self._offset > LOG_BYTES
        start = size - LOG_BYTES if skipped else self._offset
        data = logs.read(self._log_path, start, size - start)
        end = max(data.rfind(b"\n"), data.rfind(b"\r")) + 1
        begin = min(data.find(b"\n") + 1, end) if skipped else 0
        self._offset = start + end
        before = None if skipped else self._rank
        pieces, self._rank = logs.split(data[begin:end], start + begin, before)
        for piece in pieces:
            self._throughput.feed(piece.rank, piece.text)
        return log.st_mtime
