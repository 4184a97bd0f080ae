"""Starts runs, ends them, lists them, and finds them again after a restart of the server.

Guarantees:
- A run has one watcher (run_watch.py): the process named in its record as owner. When that has
  gone, whoever looks next on the same host takes over, one of several that look at once: a live
  agent that the record names is watched on, a gone one makes the run "lost", and ranks without an
  agent are ended.
- Cancelling whoever asked (a closed tab) does not interrupt a start or a stop half way.
- The wish to end a run is a file beside its record, which its watcher obeys: so a run of a
  terminal, of another server of the same user, or of a server that died meanwhile ends too.
- A full volume loses no ending as long as this process lives: it is told from memory, and written
  when someone looks and there is room.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import subprocess  # noqa: S404 - only the type of what process.py starts
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import takewhile
from pathlib import Path
from typing import Any

from ..doctor.secret_variables import without_secrets
from ..errors import Conflict
from ..i18n import N_
from . import diagnosis, process, seed
from .gpu_watch import GpuWatch
from .hang_watch import Pace, pace_of
from .launch_plan import RUN_MARK, Plan, child_environment, servers_environment
from .process import Identity
from .run_watch import ORPHAN_PATIENCE, RunWatch
from .runs import FAILED, LOG, LOST, USAGE, Owner, Run, RunStore
from .sampler import load
from .trackers import forwarder
from .usage import Usage

MAXIMUM_ALIVE = 8
STALE_SECONDS = 60.0  # a beat this old: the other server has gone
AGENT_PATIENCE = 10.0  # torchrun itself would wait 30 s for a rank that ignores SIGTERM
KEEP_SECONDS = 2.0  # for what is written when the server ends


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
        changed: Callable[[Run], None] = lambda run: None,
    ) -> None:
        """`changed` gets the record of a run under this manager's eyes whenever it has changed; the
        last time as it ended.
        """
        self.store = store
        self._environ = environ
        self._log = log or logging.getLogger(__name__)
        self._agent_patience = agent_patience
        self._changed = changed
        self._hang_pace = hang_pace or pace_of(environ)
        self._starting: dict[str, asyncio.Task[Run]] = {}
        self._watched: dict[str, RunWatch] = {}
        self._unwritten: dict[str, Run] = {}  # that are over, and the record does not know it
        self._forwarding: dict[str, asyncio.Task[None]] = {}
        self._gpus = GpuWatch(self._log, environ)
        self._taking_over = asyncio.Lock()
        self._closed = False
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
        unwritten = None
        try:
            await asyncio.to_thread(self.store.request_stop, run_id)
        except OSError as error:
            unwritten = error
        watched = self._watched.get(run_id)
        if watched is not None:
            watched.end()
        elif unwritten is not None:
            raise Conflict(
                N_("The run's folder cannot be written: {reason}."), reason=unwritten.strerror
            ) from unwritten
        return await self.get(run_id)

    async def wait(self, run_id: str) -> Run:
        """A run of ours after its end."""
        watched = self._watched.get(run_id)
        if watched is not None:
            await asyncio.wait([watched.task])
        return await self.get(run_id)

    async def sent(self, run_id: str, seconds: float) -> None:
        """Wait until the trackers of a run that is over have what it printed, for so long."""
        forwarding = self._forwarding.get(run_id)
        if forwarding is not None:
            await asyncio.wait([forwarding], timeout=seconds)

    async def trackers(self, run_id: str) -> list[dict[str, str]]:
        """{name, state, where, reason} of each tracker of a run. Raises NotFound."""
        kept = await asyncio.to_thread(forwarder.load, self.store.path(run_id))
        return [] if kept is None else kept.states

    async def close(self) -> None:
        """Stop watching, for good. The runs go on, as far as the container does."""
        self._closed = True
        if self._starting:  # nothing may begin to be watched after this
            await asyncio.wait(self._starting.values(), timeout=KEEP_SECONDS)
        tasks = [one.task for one in self._watched.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for forwarding in (ends := tuple(self._forwarding.values())):
            forwarding.cancel()
        await asyncio.gather(*ends, return_exceptions=True)
        keeping = [asyncio.create_task(one.sampler.keep()) for one in self._watched.values()]
        keeping += [
            asyncio.create_task(asyncio.to_thread(self.store.note_server_stop, run_id))
            for run_id in self._watched
        ]
        keeping += [asyncio.create_task(self._write(run)) for run in self._unwritten.values()]
        if keeping:  # a volume that hangs must not hold up the end
            await asyncio.wait(keeping, timeout=KEEP_SECONDS)
        self._watched.clear()
        await self._gpus.close()

    # -- inside

    async def _start(self, plan: Plan) -> Run:
        before = set(takewhile(lambda run_id: run_id != plan.run_id, self._starting))
        others = before | {run.id for run in await self.alive()}
        if len(others) >= MAXIMUM_ALIVE:
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
            # what is secret is not kept: an earlier launch is then offered without it
            environment=without_secrets(plan.environment),
            trackers=plan.asked_trackers,
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
        await self._keep_trackers(plan)
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
            await self._write(run)
            self._changed(run)
            return run
        agent = process.identify(child.pid)
        run = replace(run, agent=agent, members=() if agent is None else (agent,))
        if self._closed:  # it goes on, and whoever comes next watches it
            await self._write(run)
            return run
        await self._watch(run, child, child_environment(self._environ, plan)).save(run)
        return run

    def _watch(
        self, run: Run, child: subprocess.Popen[bytes] | None, environ: Mapping[str, str]
    ) -> RunWatch:
        """environ: of the run."""
        forwarded = {name: text for name, text in environ.items() if name != RUN_MARK}
        watch = RunWatch(
            self.store,
            run,
            child,
            self._environ,
            forwarded,
            self._gpus,
            self._log,
            self._hang_pace,
            self._agent_patience,
            self._changed,
        )
        self._watched[run.id] = watch
        self._forwarding[run.id] = watch.forwarding
        watch.forwarding.add_done_callback(lambda _: self._forwarding.pop(run.id, None))

        def over(task: asyncio.Task[None]) -> None:
            if not task.cancelled():
                self._watched.pop(run.id, None)
                if not watch.kept:
                    self._unwritten[run.id] = watch.run

        watch.task.add_done_callback(over)
        return watch

    async def _keep_trackers(self, plan: Plan) -> None:
        """Before the start, so that whoever takes the run over knows of them."""
        if not plan.trackers:
            return
        kept = forwarder.new_record(
            plan.trackers,
            python=plan.python,
            folder=plan.working_directory,
            title=f"{Path(plan.script).stem}-{plan.run_id}",
            config={
                "script": plan.script,
                "arguments": list(plan.arguments),
                "processes": plan.processes,
            },
            rank=min(set(range(plan.processes)) - set(plan.hidden_ranks)),
        )
        try:
            await asyncio.to_thread(forwarder.save, self.store.path(plan.run_id), kept)
        except OSError as error:
            self._log.warning("Run %s has no trackers: %s", plan.run_id, error)

    async def _current(self, run: Run) -> Run:
        """The record as it is true now; takes over a run whose watcher has gone."""
        if run.id in self._watched:
            return self._watched[run.id].run
        if run.id in self._unwritten:
            run = self._unwritten[run.id]
            await self._write(run)
            return run
        if not run.alive or run.id in self._starting or self._closed:
            return run
        if not self._is_left(run):
            elsewhere = run.owner.host != self._me.host
            if elsewhere and await asyncio.to_thread(self.store.beat_age, run.id) > STALE_SECONDS:
                return replace(run, state=LOST, diagnosis=diagnosis.lost(""))
            return run
        async with self._taking_over:
            if run.id not in self._watched:
                before = run.owner
                run, is_ours = await asyncio.to_thread(
                    self.store.take_over, run.id, self._is_left, self._taken
                )
                if not is_ours:
                    return run
                if before.host == self._me.host:
                    await asyncio.to_thread(self.store.forget_server_stop, run.id)
                environ = {**servers_environment(self._environ), **run.environment}
                self._watch(run, None, environ)
        watched = self._watched.get(run.id)
        if watched is None:
            return await asyncio.to_thread(self.store.load, run.id)
        if not watched.agent_is_alive:
            await asyncio.wait([watched.task], timeout=ORPHAN_PATIENCE + 2)
        return watched.run

    def _is_left(self, run: Run) -> bool:
        """Whether the watcher that its record names has gone, as far as can be told here."""
        owner = run.owner
        if owner.host == self._me.host:
            return owner == self._me or not process.is_alive(Identity(owner.pid, owner.started))
        return owner.server == self._me.server  # our own, in the container before this one

    def _taken(self, run: Run) -> Run:
        if run.owner.host != self._me.host:
            # The container that it ran in has gone, and every process with it.
            run = replace(run, agent=None, members=())
        return replace(run, owner=self._me)

    async def _write(self, run: Run) -> None:
        """The record of a run that is over, or it is told from memory."""
        try:
            await asyncio.to_thread(self.store.save, run)
            self._unwritten.pop(run.id, None)
        except OSError as error:
            self._unwritten[run.id] = run
            self._log.warning("The record of run %s cannot be written: %s", run.id, error)


def _this_container() -> str:
    """Names this boot of this container: pids and start times mean nothing in another."""
    first = process.identify(1)
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        boot = ""
    return f"{socket.gethostname()}/{boot}/{first.started if first else 0}"
