"""Launch DDP over REST, below `<base_url>/gpucamp/ddp/`. Decides nothing itself.

defaults, plan, runs, runs/<id>, runs/<id>/log, runs/<id>/stop: see docs/ddp.md.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncGenerator, Mapping
from typing import Any

from jupyter_server.auth.decorator import authorized
from tornado import web

from ..errors import BadRequest
from ..handlers import GpucampHandler
from ..i18n import N_
from . import logs
from .files import find_script
from .launch_plan import Machine, Plan, make_plan, parse_request
from .machine import kernel_python, read_machine
from .manager import RunManager
from .runs import LOG, RunStore

MANAGER = "gpucamp_ddp_manager"  # in the server's settings

_OFFSET = re.compile(r"[0-9]{1,15}")


def manager_of(settings: dict[str, Any], root_dir: str, log: Any = None) -> RunManager:
    """The server's one RunManager, made when it is first asked for."""
    if MANAGER not in settings:
        store = RunStore(os.path.join(os.path.realpath(root_dir), ".gpucamp", "runs"))
        settings[MANAGER] = RunManager(store, dict(os.environ), log=log)
    manager: RunManager = settings[MANAGER]
    return manager


async def stop(settings: dict[str, Any]) -> None:
    """The server ends: stop watching."""
    if MANAGER in settings:
        await settings.pop(MANAGER).close()


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
            find_script, self.root_dir, request.script, request.working_directory
        )
        run_id = request.run_id
        if run_id is None:
            run_id = await asyncio.to_thread(self.manager.store.new_id)
        others = len(await self.manager.alive())
        return make_plan(request, script, machine, run_id, other_runs=others)


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
                "defaults": {"processes": machine.default_processes},
                "warnings": [
                    {"code": one.code, "message": one.render(self.gettext)} for one in plan.advice
                ],
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
    (r"/gpucamp/ddp/runs", RunsHandler),
    (rf"/gpucamp/ddp/runs/{_RUN}", RunHandler),
    (rf"/gpucamp/ddp/runs/{_RUN}/log", LogHandler),
    (rf"/gpucamp/ddp/runs/{_RUN}/stop", StopHandler),
]
