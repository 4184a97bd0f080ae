"""Watches one run from its start, or from where another watcher left it, to its end.

Guarantees:
- A state that is over is written after the last process of the run has gone, and never changes.
- The watcher is the only one to write the run's record, and an older one never lands on a newer.
- What is only told about a run (usage, hangs, trackers, its diagnosis) can fail without ending it
  or its watch; what fails otherwise (no room for a thread, say) is tried again.
"""

from __future__ import annotations

import asyncio
import logging
import subprocess  # noqa: S404 - only the type of what process.py starts
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import ParamSpec, TypeVar

from . import diagnosis, logs, process, remarks, seed
from .gpu_watch import GpuWatch
from .hang_watch import HangWatch, Pace
from .launch_plan import EXIT_CODE, RANKS
from .process import Identity
from .runs import FAILED, LOG, LOST, RUNNING, STOPPED, SUCCEEDED, USAGE, Run, RunStore
from .sampler import Sampler
from .trackers.forwarder import Forwarder

DIAGNOSED_BYTES = 512 * 1024
BEAT_SECONDS = 5.0
AFTER_SUCCESS = 10.0  # for processes that outlive the agent
ORPHAN_PATIENCE = 1.0  # between SIGTERM and SIGKILL for ranks without an agent
AGAIN_SECONDS = 2.0  # after something failed

P = ParamSpec("P")
T = TypeVar("T")


class RunWatch:
    """The watch over one run. `run` is replaced as it changes; kept: whether it is written, too."""

    def __init__(
        self,
        store: RunStore,
        run: Run,
        child: subprocess.Popen[bytes] | None,
        environ: Mapping[str, str],
        run_environ: Mapping[str, str],
        gpus: GpuWatch,
        log: logging.Logger,
        hang_pace: Pace,
        agent_patience: float,
        changed: Callable[[Run], None] = lambda run: None,
    ) -> None:
        """child: the agent, None where it was taken over; environ: the server's; run_environ: for
        trackers; agent_patience: seconds, see end_all; changed: gets each new record.
        """
        self.run = run
        self.kept = True
        self._saving = asyncio.Lock()
        self._store, self._child, self._log = store, child, log
        self._agent_patience, self._changed = agent_patience, changed
        log_path, usage_path = store.path(run.id, LOG), store.path(run.id, USAGE)
        self._log_path = str(log_path)
        self.sampler = Sampler(lambda: self.run, usage_path, log_path, gpus, log)
        self.hangs = HangWatch(store, lambda: self.run, environ, gpus.latest, log, hang_pace)
        self._forwarder = Forwarder(run.id, store.path(run.id), log_path, run_environ, log)
        self._ending: asyncio.Task[list[Identity]] | None = None
        self._head_is_read = False  # the log's beginning, for a seed
        self.forwarding = asyncio.create_task(self._forwarder.watch())
        self.task = asyncio.create_task(self._until_its_end())

    @property
    def agent_is_alive(self) -> bool:
        """Whether torchrun runs."""
        if self._child is not None:
            return self._child.poll() is None
        return self.run.agent is not None and process.is_alive(self.run.agent)

    def end(self) -> None:
        """Begin to end the run."""
        if self._ending is None or _failed(self._ending):
            self._ending = asyncio.create_task(
                process.end_all(
                    self.run.id,
                    self.run.members,
                    agent=self.run.agent,
                    agent_patience=self._agent_patience,
                    patience=0,
                )
            )

    async def save(self, run: Run) -> None:
        """Keep and write a changed record; a volume that is full does not end the watch."""
        self.run = run
        self._changed(run)
        async with self._saving:
            try:
                await asyncio.to_thread(self._store.save, self.run)
                self.kept = True
            except OSError as error:
                self.kept = False
                self._log.warning("The record of run %s cannot be written: %s", run.id, error)

    async def _until_its_end(self) -> None:
        self._changed(self.run)  # one that was taken over: whether it was told, nobody knows
        sampling = asyncio.create_task(self.sampler.watch())
        looking = asyncio.create_task(self.hangs.watch())
        try:
            while self.run.alive:
                try:
                    await self._while_alive()
                    looking.cancel()
                    await self._finish(sampling)
                except Exception:  # whatever it was, the run goes on and must have a watcher
                    self._log.exception("Watching run %s failed; it is tried again", self.run.id)
                    await asyncio.sleep(AGAIN_SECONDS)
        finally:
            sampling.cancel()
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)
            if self._ending is not None and not self._ending.done():
                self._ending.cancel()
        self._forwarder.end(self.run.exit_code)

    async def _while_alive(self) -> None:
        """Record members as they appear, until the agent has gone."""
        looked = beaten = 0.0
        pause = 0.2
        while self.agent_is_alive:
            now = time.monotonic()
            if now - beaten >= BEAT_SECONDS:
                beaten = now
                await asyncio.to_thread(self._store.beat, self.run.id)
            if now - looked >= pause:
                looked = now
                await self._look()
                pause = 0.5 if self.run.state != RUNNING else 2.0
            await self._tell_hang()
            await asyncio.sleep(0.1)

    async def _look(self) -> None:
        run = self.run
        seen = await asyncio.to_thread(process.find_processes, run.id, run.members)
        members = process.merge(run.members, seen)
        state = RUNNING if any(one.rank is not None for one in members) else run.state
        stated = await asyncio.to_thread(self._stated_seed)
        if members != run.members or state != run.state or stated != run.seed:
            await self.save(replace(run, members=members, state=state, seed=stated))
        if await asyncio.to_thread(self._store.stop_requested, run.id):
            self.end()

    def _stated_seed(self, *, over: bool = False) -> seed.Seed | None:
        """The seed, as far as the beginning of the log tells it by now. Blocking."""
        known = self.run.seed
        if self._head_is_read or (known is not None and known.source != seed.ENVIRONMENT):
            return known
        head = logs.read(self._log_path, 0, seed.HEAD_BYTES)
        self._head_is_read = over or len(head) == seed.HEAD_BYTES
        if not over:
            head = head[: head.rfind(b"\n") + 1]  # of half a line, a number may be cut off
        return seed.better(known, seed.printed(head.decode(errors="replace")))

    async def _tell_hang(self) -> None:
        """Write what is known of a hang, unless the run is being ended."""
        found = self.hangs.hang
        if self._ending is None and found != self.run.hang:
            await self.save(replace(self.run, hang=found))

    async def _finish(self, sampling: asyncio.Task[None]) -> None:
        """The agent has gone: end what it left, then write how it ended."""
        run = self.run
        exit_code = await self._told(None, self._exit_code)
        if exit_code == 0 and self._ending is None:
            await self._let_finish(run)
        if self._ending is not None and not _failed(self._ending):
            survivors = await self._ending
        else:
            survivors = await process.end_all(
                run.id, run.members, agent=None, agent_patience=0, patience=ORPHAN_PATIENCE
            )
        # a full volume may have had no room for the wish
        stopped = self._ending is not None or await asyncio.to_thread(
            self._store.stop_requested, run.id
        )
        text = await self._told("", self._said, run)
        sampling.cancel()
        await asyncio.wait([sampling])
        await self.sampler.finish(exit_code, text)
        server_stopped = await asyncio.to_thread(self._store.server_stopped, run.id)
        state = _state(exit_code, stopped)
        found = await self._told(None, _explain, state, exit_code, text, server_stopped)
        stated = await self._told(self.run.seed, self._stated_seed, over=True)
        noted = await self._told((), self._remarks, text) if state == SUCCEEDED else ()
        await self.save(
            replace(
                self.run,
                state=state,
                ended_at=time.time(),
                exit_code=exit_code,
                diagnosis=found,
                remarks=noted,
                seed=stated,
                hang=None if state == SUCCEEDED else self.run.hang,
                survivors=tuple(survivors),
            ),
        )

    def _exit_code(self) -> int | None:
        """The agent's; of one that was taken over, what it left of it, if it could. Blocking."""
        if self._child is not None:
            return self._child.returncode
        try:
            return int(self._store.path(self.run.id, EXIT_CODE).read_text()[:20])
        except (OSError, ValueError):
            return None

    async def _told(
        self, without: T, tell: Callable[P, T], *args: P.args, **options: P.kwargs
    ) -> T:
        """What `tell` says, in a thread; `without` where it fails."""
        try:
            return await asyncio.to_thread(tell, *args, **options)
        except Exception:  # an ending without its explanation is better than none
            self._log.exception("Not all can be told of the end of run %s", self.run.id)
            return without

    def _said(self, run: Run) -> str:
        """What the log and the ranks' own files tell about its end. Blocking."""
        return logs.said(
            self._log_path,
            str(self._store.path(run.id, RANKS)),
            run.hidden_ranks,
            run.max_restarts,
            DIAGNOSED_BYTES,
        )

    def _remarks(self, end: str) -> tuple[str, ...]:
        """On the beginning and the end of the log. Blocking."""
        head = logs.read(self._log_path, 0, remarks.HEAD_BYTES)
        return remarks.remarks(head.decode(errors="replace") + "\n" + end)

    async def _let_finish(self, run: Run) -> None:
        """After a success, what the script left behind (an upload, say) may finish its work."""
        deadline = time.monotonic() + AFTER_SUCCESS
        while time.monotonic() < deadline:
            if not await asyncio.to_thread(process.find_processes, run.id, run.members):
                return
            await asyncio.sleep(0.2)


def _state(exit_code: int | None, stopped: bool) -> str:
    """How a run ended. exit_code: the agent's, None where nobody knows."""
    if exit_code == 0:
        return SUCCEEDED
    if stopped:
        return STOPPED
    return LOST if exit_code is None else FAILED


def _explain(
    state: str, exit_code: int | None, log: str, server_stopped: bool
) -> diagnosis.Diagnosis | None:
    if state == LOST:
        return diagnosis.lost(log, asked=server_stopped)
    return diagnosis.diagnose(log, exit_code) if state == FAILED else None


def _failed(task: asyncio.Task[list[Identity]]) -> bool:
    return task.done() and (task.cancelled() or task.exception() is not None)
