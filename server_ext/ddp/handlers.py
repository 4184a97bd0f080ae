"""Launch DDP over REST, below `<base_url>/gpucamp/ddp/`. Decides nothing itself.

defaults, plan, notebook, proposal, runs, runs/<id> and what is below it: see docs/ddp.md.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
from collections.abc import AsyncGenerator, Mapping
from typing import Any

from jupyter_server.auth.decorator import authorized
from tornado import web

from ..errors import BadRequest
from ..handlers import GpucampHandler
from ..i18n import N_
from . import kernel_handlers, logs
from .export import accept, export_notebook, propose_for
from .files import find_module, find_script
from .launch_plan import Machine, Plan, make_plan
from .launch_request import parse_request
from .machine import kernel_python, read_machine
from .manager import RunManager
from .metrics_reader import MetricsReader
from .runs import LOG, RunStore
from .telling import Teller
from .trackers.surroundings import trackers_for

MANAGER = "gpucamp_ddp_manager"  # in the server's settings
TELLER = "gpucamp_ddp_teller"
METRICS = "gpucamp_ddp_metrics"
FILE_CHUNK = 2**18

_OFFSET = re.compile(r"[0-9]{1,15}")


def manager_of(settings: dict[str, Any], root_dir: str, log: Any = None) -> RunManager:
    """The server's one RunManager, made when it is first asked for."""
    if MANAGER not in settings:
        store = RunStore(os.path.join(os.path.realpath(root_dir), ".gpucamp", "runs"))
        environ = dict(os.environ)
        settings[TELLER] = Teller(environ, log or logging.getLogger(__name__))
        settings[MANAGER] = RunManager(store, environ, log=log, changed=settings[TELLER].changed)
    manager: RunManager = settings[MANAGER]
    return manager


async def stop(settings: dict[str, Any]) -> None:
    """The server ends: stop watching."""
    if MANAGER in settings:
        await settings.pop(MANAGER).close()
    if TELLER in settings:
        await settings.pop(TELLER).close()


class _DdpHandler(GpucampHandler):
    @property
    def root_dir(self) -> str:
        return os.path.realpath(self.serverapp.root_dir)

    @property
    def manager(self) -> RunManager:
        return manager_of(self.settings, self.serverapp.root_dir, self.log)

    async def machine(self) -> Machine:
        def read() -> Machine:
            python = kernel_python(self.kernel_spec_manager)
            return read_machine(os.environ, str(self.manager.store.folder), python)

        return await asyncio.to_thread(read)

    async def plan(self) -> Plan:
        """The plan for this request's body. Raises BadRequest."""
        machine = await self.machine()
        request = parse_request(self.json_object(), machine.max_processes)
        script = await asyncio.to_thread(
            find_module if request.module else find_script,
            self.root_dir,
            request.module or request.script,
            request.working_directory,
        )
        run_id = request.run_id
        if run_id is None:
            run_id = await asyncio.to_thread(self.manager.store.new_id)
        others = len(await self.manager.alive())
        trackers = await asyncio.to_thread(trackers_for, request, script, os.environ)
        return make_plan(request, script, machine, run_id, other_runs=others, trackers=trackers)

    def shown(self, path: str) -> str:
        """A path as people know it: below the work folder, relative to it."""
        below = path.startswith(self.root_dir + os.sep)
        return path[len(self.root_dir) + 1 :] if below else path


class DefaultsHandler(_DdpHandler):
    """What a launch dialog begins with."""

    _track_activity = False

    @web.authenticated
    @authorized
    async def get(self) -> None:
        machine = await self.machine()
        self.reply(
            {
                "processes": machine.default_processes,
                "max_processes": machine.max_processes,
                "backend": machine.backend,
                "devices": list(machine.devices),
                "simulated": machine.simulated,
                "cpus": machine.cpus,
            }
        )


class PlanHandler(_DdpHandler):
    """What would be run, without running it."""

    @web.authenticated
    @authorized
    async def post(self) -> None:
        plan = await self.plan()
        machine = await self.machine()
        self.reply(
            {
                "id": plan.run_id,
                "command": plan.command,
                "terminal_command": plan.terminal_command,
                "argv": list(plan.argv),
                "env": plan.env,
                "working_directory": plan.working_directory,
                "processes": plan.processes,
                "environment": dict(plan.environment),
                "max_restarts": plan.max_restarts,
                "hidden_ranks": list(plan.hidden_ranks),
                "trackers": [
                    {"name": one.name, "where": self.shown(one.where), "offline": one.offline}
                    for one in plan.trackers
                ],
                "defaults": {"processes": machine.default_processes},
                "warnings": [
                    {"code": one.code, "message": one.render(self.gettext)} for one in plan.advice
                ],
            }
        )


class NotebookHandler(_DdpHandler):
    """Makes a script of a notebook, beside it."""

    @web.authenticated
    @authorized
    async def post(self) -> None:
        body = self.json_object()
        name = body.get("notebook")
        if not isinstance(name, str) or set(body) != {"notebook"}:
            raise BadRequest(N_("notebook must be the path of a notebook, and nothing else."))
        made = await asyncio.to_thread(export_notebook, self.root_dir, name)
        self.reply(
            {
                "script": made.script or None,
                "written": made.written,
                "left_out": [one.view(self.gettext) for one in made.converted.left_out],
                "obstacles": [one.view(self.gettext) for one in made.converted.obstacles],
            }
        )


class ProposalHandler(_DdpHandler):
    """What would make a DDP script of a plain one; with the digest of what was shown: writes it."""

    @web.authenticated
    @authorized
    async def post(self) -> None:
        body = self.json_object()
        name, digest = body.get("script"), body.get("digest")
        if not isinstance(name, str) or not isinstance(digest, (str, type(None))):
            raise BadRequest(N_("script must be the path of a script."))
        if digest is not None:
            written = await asyncio.to_thread(accept, self.root_dir, name, digest)
            self.reply({"script": written}, status=201)
            return
        made = await asyncio.to_thread(propose_for, self.root_dir, name)
        proposal = made.proposal
        self.reply(
            {
                "digest": made.digest if proposal.text else None,
                "diff": made.diff,
                "changes": [note.view(self.gettext) for note in proposal.changes],
                "remarks": [note.view(self.gettext) for note in proposal.remarks],
                "reasons": [note.view(self.gettext) for note in proposal.reasons],
            }
        )


class RunsHandler(_DdpHandler):
    """All runs; start one."""

    def update_api_activity(self) -> None:
        """A list that is polled is no activity; a start is."""
        if self.request.method != "GET":
            super().update_api_activity()

    @web.authenticated
    @authorized
    async def get(self) -> None:
        runs = await self.manager.all()
        self.reply({"runs": [run.view(self.gettext) for run in runs]})

    @web.authenticated
    @authorized
    async def post(self) -> None:
        run = await self.manager.start(await self.plan())
        self.reply(run.view(self.gettext), status=201)


class RunHandler(_DdpHandler):
    """One run."""

    _track_activity = False

    @web.authenticated
    @authorized
    async def get(self, run_id: str) -> None:
        self.reply((await self.manager.get(run_id)).view(self.gettext))


class LogHandler(_DdpHandler):
    """A run's log from `?offset=` bytes on, as NDJSON, until the run is over."""

    _track_activity = False

    @web.authenticated
    @authorized
    async def get(self, run_id: str) -> None:
        text = self.get_query_argument("offset", "0")
        if not _OFFSET.fullmatch(text):
            raise BadRequest(N_("offset must be a whole number of bytes, 0 or more."))
        await self.manager.get(run_id)  # a 404 before the stream begins
        await self.stream(self._events(run_id, int(text)))

    async def _events(
        self, run_id: str, offset: int
    ) -> AsyncGenerator[Mapping[str, Any] | list[Mapping[str, Any]], None]:
        manager = self.manager

        async def is_over() -> bool:
            return not (await manager.get(run_id)).alive

        path = str(manager.store.path(run_id, LOG))
        async for pieces in logs.follow(path, offset, is_over):
            yield [piece.view() for piece in pieces]
        yield {"event": "end", "run": (await manager.get(run_id)).view(self.gettext)}


class LogFileHandler(_DdpHandler):
    """A run's whole log as a file: what is there now, every rank's lines with their header."""

    _track_activity = False

    @web.authenticated
    @authorized
    async def get(self, run_id: str) -> None:
        run = await self.manager.get(run_id)
        path = str(self.manager.store.path(run.id, LOG))
        size = await asyncio.to_thread(logs.length, path)
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.set_header("Content-Disposition", f'attachment; filename="{run.id}.log"')
        self.set_header("Content-Length", str(size))
        sent = 0
        while sent < size:
            chunk = await asyncio.to_thread(logs.read, path, sent, min(FILE_CHUNK, size - sent))
            if not chunk:
                raise web.HTTPError(
                    500
                )  # it was cut meanwhile: the reader sees that it is not whole
            sent += len(chunk)
            self.write(chunk)
            await self.flush()
        await self.finish()


class MetricsHandler(_DdpHandler):
    """The numbers that a run printed, as series, and which trackers have them."""

    _track_activity = False

    @web.authenticated
    @authorized
    async def get(self, run_id: str) -> None:
        run = await self.manager.get(run_id)
        reader = self.settings.setdefault(METRICS, MetricsReader())
        path = str(self.manager.store.path(run.id, LOG))
        found = await reader.read(run.id, path, over=not run.alive)
        trackers = [
            {**state, "where": self.shown(state["where"])}
            for state in await self.manager.trackers(run.id)
        ]
        self.reply({**found, "trackers": trackers})


class UsageHandler(_DdpHandler):
    """What the ranks and the GPUs of a run did over time."""

    _track_activity = False

    @web.authenticated
    @authorized
    async def get(self, run_id: str) -> None:
        self.reply(await self.manager.usage(run_id))


class StopHandler(_DdpHandler):
    """Begin to end a run."""

    @web.authenticated
    @authorized
    async def post(self, run_id: str) -> None:
        run = await self.manager.stop(run_id)
        self.reply(run.view(self.gettext), status=202)


_RUN = r"(?P<run_id>[^/]+)"

handlers: list[tuple[str, type[GpucampHandler]]] = [
    (r"/gpucamp/ddp/defaults", DefaultsHandler),
    (r"/gpucamp/ddp/plan", PlanHandler),
    *kernel_handlers.handlers,
    (r"/gpucamp/ddp/notebook", NotebookHandler),
    (r"/gpucamp/ddp/proposal", ProposalHandler),
    (r"/gpucamp/ddp/runs", RunsHandler),
    (rf"/gpucamp/ddp/runs/{_RUN}", RunHandler),
    (rf"/gpucamp/ddp/runs/{_RUN}/log", LogHandler),
    (rf"/gpucamp/ddp/runs/{_RUN}/log/file", LogFileHandler),
    (rf"/gpucamp/ddp/runs/{_RUN}/metrics", MetricsHandler),
    (rf"/gpucamp/ddp/runs/{_RUN}/usage", UsageHandler),
    (rf"/gpucamp/ddp/runs/{_RUN}/stop", StopHandler),
]
