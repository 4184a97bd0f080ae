"""Starts runs, watches them, ends them, and finds them again after a restart of the server.

Guarantees:
- A run has one watcher: the process named in its record as owner. When that has gone, whoever
  looks next on the same host takes over: a live agent is watched on, a gone one makes the run
  "lost", and ranks without an agent are ended.
- A state that is over is written after the last process of the run has gone, and never changes.
- Cancelling whoever asked (a closed tab) does not interrupt a start or a stop half way.
- The wish to end a run is a file beside its record, which its watcher obeys: so a run of a
  terminal, of another server of the same user, or of a server that died meanwhile ends too.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import subprocess  # noqa: S404 - only the type of what process.py starts
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..errors import Conflict
from ..i18n import N_
from . import diagnosis, logs, process, remarks, seed
from .gpu_watch import GpuWatch
from .hang_watch import HangWatch, Pace, pace_of
from .launch_plan import RANKS, Plan, child_environment
from .process import Identity
from .runs import FAILED, LOG, LOST, RUNNING, STOPPED, SUCCEEDED, USAGE, Owner, Run, RunStore
from .sampler import Sampler, load
from .usage import Usage

MAXIMUM_ALIVE = 8
DIAGNOSED_BYTES = 512 * 1024
BEAT_SECONDS = 5.0
STALE_SECONDS = 60.0  # a beat this old: the other server has gone
AGENT_PATIENCE = 10.0  # torchrun itself would wait 30 s for a rank that ignores SIGTERM
AFTER_SUCCESS = 10.0  # for processes that outlive the agent
KEEP_SECONDS = 2.0  # for what is written when the server ends
ORPHAN_PATIENCE = 1.0  # between SIGTERM and SIGKILL for ranks without an agent


@dataclass
class _Watched:
    """A run that this process watches. `run` is replaced as it changes."""

    run: Run
    child: subprocess.Popen[bytes] | None  # None: taken over from a watcher that has gone
    sampler: Sampler
    hangs: HangWatch | None = None  # what it finds is written by the watcher, the only one to write
    task: asyncio.Task[None] | None = None
    ending: asyncio.Task[list[Identity]] | None = None
    head_is_read: bool = False  # the log's beginning, for a seed


class RunManager:
    """The runs of one runs folder."""

    def __init__(
        self,
        store: RunStore,
        environ: Mapping[str, str],
        *,
        log: logging.Logger | None = None,
        agent_patience: float = AGENT_PATIENCE,
        hang_pace: Pace | None = None,
    ) -> None:
        self.store = store
        self._environ = environ
        self._log = log or logging.getLogger(__name__)
        self._agent_patience = agent_patience
        self._hang_pace = hang_pace or pace_of(environ)
        self._starting: dict[str, asyncio.Task[Run]] = {}
        self._watched: dict[str, _Watched] = {}
        self._gpus = GpuWatch(self._log)
        self._taking_over = asyncio.Lock()
        me = process.identify(os.getpid())
        self._me = Owner(
            host=_this_container(),
            server=environ.get("JUPYTERHUB_SERVER_NAME", ""),
            pid=os.getpid(),
            started=me.started if me else 0,
        )

    # -- looking

    async def all(self) -> list[Run]:
        """All runs, newest first."""
        return [await self._current(run) for run in await asyncio.to_thread(self.store.all)]

    async def get(self, run_id: str) -> Run:
        """One run. Raises NotFound."""
        if run_id in self._watched:
            return self._watched[run_id].run
        return await self._current(await asyncio.to_thread(self.store.load, run_id))

    async def usage(self, run_id: str) -> dict[str, Any]:
        """What a run used over time, with `elapsed_seconds`; see usage.py. Raises NotFound."""
        run = await self.get(run_id)
        watched = self._watched.get(run_id)
        usage = None if watched is None else watched.sampler.usage
        if usage is None:
            usage = await asyncio.to_thread(load, self.store.path(run_id, USAGE))
        until = time.time() if run.ended_at is None and run.alive else run.ended_at
        elapsed = None if until is None else round(max(0.0, until - run.started_at), 2)
        return {"elapsed_seconds": elapsed, **(usage or Usage()).view(over=not run.alive)}

    async def alive(self) -> list[Run]:
        """The runs that go on in this container."""
        return [r for r in await self.all() if r.alive and r.owner.host == self._me.host]

    # -- doing

    async def start(self, plan: Plan) -> Run:
        """Start a plan. A command that cannot be started is a failed run, not an error.

        Raises Conflict where its id is taken or too many runs are alive.
        """
        if plan.run_id in self._starting:
            raise Conflict(N_("There is a run {id} already."), id=plan.run_id)
        task = asyncio.create_task(self._start(plan))
        self._starting[plan.run_id] = task
        task.add_done_callback(lambda _: self._starting.pop(plan.run_id, None))
        return await asyncio.shield(task)

    async def stop(self, run_id: str) -> Run:
        """Begin to end a run; it is over when its state says so. A run that is over stays as it is.

        Raises NotFound, and Conflict where the wish cannot be written.
        """
        if run_id in self._starting:
            await asyncio.wait([self._starting[run_id]])
        run = await self.get(run_id)
        if not run.alive:
            return run
        try:
            await asyncio.to_thread(self.store.request_stop, run_id)
        except OSError as error:
            raise Conflict(
                N_("The run's folder cannot be written: {reason}."), reason=error.strerror
            ) from error
        watched = self._watched.get(run_id)
        if watched is not None:
            self._end(watched)
        return await self.get(run_id)

    async def wait(self, run_id: str) -> Run:
        """A run of ours after its end."""
        watched = self._watched.get(run_id)
        if watched is not None and watched.task is not None:
            await asyncio.shield(watched.task)
        return await self.get(run_id)

    async def close(self) -> None:
        """Stop watching. The runs go on, as far as the container does."""
        tasks = [one.task for one in self._watched.values() if one.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        keeping = [asyncio.create_task(one.sampler.keep()) for one in self._watched.values()]
        if keeping:  # a volume that hangs must not hold up the end
            await asyncio.wait(keeping, timeout=KEEP_SECONDS)
        self._watched.clear()
        await self._gpus.close()

    # -- inside

    async def _start(self, plan: Plan) -> Run:
        others = len(self._starting) - 1
        if others + len(await self.alive()) >= MAXIMUM_ALIVE:
            raise Conflict(
                N_("{count} runs are going on already: stop one first."), count=MAXIMUM_ALIVE
            )
        run = Run(
            id=plan.run_id,
            script=plan.script,
            command=plan.command,
            arguments=plan.arguments,
            processes=plan.processes,
            working_directory=plan.working_directory,
            is_module=plan.is_module,
            environment=dict(plan.environment),
            max_restarts=plan.max_restarts,
            hidden_ranks=plan.hidden_ranks,
            seed=seed.asked_for(plan.arguments, child_environment(self._environ, plan)),
            owner=self._me,
            started_at=time.time(),
        )
        try:
            await asyncio.to_thread(self.store.create, run)
        except FileExistsError:
            raise Conflict(N_("There is a run {id} already."), id=plan.run_id) from None
        except OSError as error:
            raise Conflict(
                N_("The run's folder cannot be written: {reason}."), reason=error.strerror
            ) from error
        log = str(self.store.path(run.id, LOG))
        try:
            child = await asyncio.to_thread(process.start_agent, plan, self._environ, log)
        except OSError as error:
            reason = error.strerror or str(error)
            run = replace(
                run,
                state=FAILED,
                ended_at=time.time(),
                diagnosis=diagnosis.not_started(reason),
            )
            await asyncio.to_thread(self.store.save, run)
            return run
        agent = process.identify(child.pid)
        run = replace(run, agent=agent, members=() if agent is None else (agent,))
        watched = self._watch(run, child)
        await self._save(watched, run)
        return run

    def _end(self, watched: _Watched) -> None:
        if watched.ending is None:
            watched.ending = asyncio.create_task(
                process.end_all(
                    watched.run.id,
                    watched.run.members,
                    agent=watched.run.agent,
                    agent_patience=self._agent_patience,
                    patience=0,
                )
            )

    def _watch(self, run: Run, child: subprocess.Popen[bytes] | None) -> _Watched:
        paths = self.store.path(run.id, USAGE), self.store.path(run.id, LOG)
        sampler = Sampler(lambda: watched.run, *paths, self._gpus, self._log)
        watched = _Watched(run, child, sampler)
        self._watched[run.id] = watched
        watched.task = asyncio.create_task(self._until_its_end(watched))
        return watched

    async def _save(self, watched: _Watched, run: Run) -> None:
        """Keep and write a changed record; a volume that is full does not end the watch."""
        watched.run = run
        try:
            await asyncio.to_thread(self.store.save, run)
        except OSError as error:
            self._log.warning("The record of run %s cannot be written: %s", run.id, error)

    async def _until_its_end(self, watched: _Watched) -> None:
        sampling = asyncio.create_task(watched.sampler.watch())
        watched.hangs = HangWatch(
            self.store,
            lambda: watched.run,
            self._environ,
            self._gpus.latest,
            self._log,
            self._hang_pace,
        )
        looking = asyncio.create_task(watched.hangs.watch())
        try:
            await self._while_alive(watched)
            looking.cancel()
            await self._finish(watched, sampling)
        except asyncio.CancelledError:
            raise
        except Exception:
            self._log.exception("Watching run %s failed", watched.run.id)
        finally:
            sampling.cancel()
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)
            if watched.ending is not None and not watched.ending.done():
                watched.ending.cancel()
        self._watched.pop(watched.run.id, None)

    async def _while_alive(self, watched: _Watched) -> None:
        """Record members as they appear, until the agent has gone."""
        looked = beaten = 0.0
        pause = 0.2
        while self._agent_is_alive(watched):
            now = time.monotonic()
            if now - beaten >= BEAT_SECONDS:
                beaten = now
                await asyncio.to_thread(self.store.beat, watched.run.id)
            if now - looked >= pause:
                looked = now
                await self._look(watched)
                pause = 0.5 if watched.run.state != RUNNING else 2.0
            await self._tell_hang(watched)
            await asyncio.sleep(0.1)

    async def _look(self, watched: _Watched) -> None:
        run = watched.run
        seen = await asyncio.to_thread(process.find_processes, run.id, run.members)
        members = process.merge(run.members, seen)
        state = RUNNING if any(one.rank is not None for one in members) else run.state
        stated = await asyncio.to_thread(self._stated_seed, watched)
        if members != run.members or state != run.state or stated != run.seed:
            await self._save(watched, replace(run, members=members, state=state, seed=stated))
        if await asyncio.to_thread(self.store.stop_requested, run.id):
            self._end(watched)

    def _stated_seed(self, watched: _Watched, *, over: bool = False) -> seed.Seed | None:
        """The seed, as far as the beginning of the log tells it by now. Blocking."""
        known = watched.run.seed
        if watched.head_is_read or (known is not None and known.source != seed.ENVIRONMENT):
            return known
        head = logs.read(str(self.store.path(watched.run.id, LOG)), 0, seed.HEAD_BYTES)
        watched.head_is_read = over or len(head) == seed.HEAD_BYTES
        if not over:
            head = head[: head.rfind(b"\n") + 1]  # of half a line, a number may be cut off
        return seed.better(known, seed.printed(head.decode(errors="replace")))

    async def _tell_hang(self, watched: _Watched) -> None:
        """Write what is known of a hang, unless the run is being ended."""
        found = None if watched.hangs is None else watched.hangs.hang
        if watched.ending is None and found != watched.run.hang:
            await self._save(watched, replace(watched.run, hang=found))

    def _agent_is_alive(self, watched: _Watched) -> bool:
        if watched.child is not None:
            return watched.child.poll() is None
        return watched.run.agent is not None and process.is_alive(watched.run.agent)

    async def _finish(self, watched: _Watched, sampling: asyncio.Task[None]) -> None:
        """The agent has gone: end what it left, then write how it ended."""
        run = watched.run
        exit_code = None if watched.child is None else watched.child.returncode
        if exit_code == 0 and watched.ending is None:
            await self._let_finish(run)
        if watched.ending is not None:
            survivors = await watched.ending
        else:
            survivors = await process.end_all(
                run.id, run.members, agent=None, agent_patience=0, patience=ORPHAN_PATIENCE
            )
        stopped = await asyncio.to_thread(self.store.stop_requested, run.id)
        text = await asyncio.to_thread(self._said, run)
        sampling.cancel()
        await asyncio.wait([sampling])
        await watched.sampler.finish(exit_code, text)
        state, found = await asyncio.to_thread(_ending, exit_code, stopped, text)
        stated = await asyncio.to_thread(self._stated_seed, watched, over=True)
        noted = await asyncio.to_thread(self._remarks, run, text) if state == SUCCEEDED else ()
        await self._save(
            watched,
            replace(
                watched.run,
                state=state,
                ended_at=time.time(),
                exit_code=exit_code,
                diagnosis=found,
                remarks=noted,
                seed=stated,
                hang=None if state == SUCCEEDED else watched.run.hang,
                survivors=tuple(survivors),
            ),
        )

    def _said(self, run: Run) -> str:
        """What the log and the ranks' own files tell about its end. Blocking."""
        return logs.said(
            str(self.store.path(run.id, LOG)),
            str(self.store.path(run.id, RANKS)),
            run.hidden_ranks,
            run.max_restarts,
            DIAGNOSED_BYTES,
        )

    def _remarks(self, run: Run, end: str) -> tuple[str, ...]:
        """On the beginning and the end of the log. Blocking."""
        head = logs.read(str(self.store.path(run.id, LOG)), 0, remarks.HEAD_BYTES)
        return remarks.remarks(head.decode(errors="replace") + "\n" + end)

    async def _let_finish(self, run: Run) -> None:
        """After a success, what the script left behind (an upload, say) may finish its work."""
        deadline = time.monotonic() + AFTER_SUCCESS
        while time.monotonic() < deadline:
            if not await asyncio.to_thread(process.find_processes, run.id, run.members):
                return
            await asyncio.sleep(0.2)

    async def _current(self, run: Run) -> Run:
        """The record as it is true now; takes over a run whose watcher has gone."""
        if run.id in self._watched:
            return self._watched[run.id].run
        if not run.alive or run.id in self._starting:
            return run
        owner = run.owner
        if owner.host == self._me.host:
            if owner != self._me and process.is_alive(Identity(owner.pid, owner.started)):
                return run
        elif owner.server != self._me.server:
            stale = await asyncio.to_thread(self.store.beat_age, run.id) > STALE_SECONDS
            return replace(run, state=LOST, diagnosis=diagnosis.lost("")) if stale else run
        async with self._taking_over:
            if run.id not in self._watched:
                run = await asyncio.to_thread(self.store.load, run.id)
                if not run.alive:
                    return run
                if owner.host != self._me.host:
                    # The container that it ran in has gone, and every process with it.
                    run = replace(run, agent=None, members=())
                self._watch(replace(run, owner=self._me), None)
        watched = self._watched.get(run.id)
        if watched is None or watched.task is None:
            return await asyncio.to_thread(self.store.load, run.id)
        if not self._agent_is_alive(watched):
            await asyncio.wait([watched.task], timeout=ORPHAN_PATIENCE + 2)
        return watched.run


def _this_container() -> str:
    """Names this boot of this container: pids and start times mean nothing in another."""
    first = process.identify(1)
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        boot = ""
    return f"{socket.gethostname()}/{boot}/{first.started if first else 0}"


def _ending(
    exit_code: int | None, stopped: bool, log: str
) -> tuple[str, diagnosis.Diagnosis | None]:
    if exit_code == 0:
        return SUCCEEDED, None
    if stopped:
        return STOPPED, None
    if exit_code is None:
        return LOST, diagnosis.lost(log)
    return FAILED, diagnosis.diagnose(log, exit_code)
