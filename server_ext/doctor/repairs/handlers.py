"""Repairs over REST.

- GET    gpucamp/doctor/repairs -> what the last examination's findings offer:
  {"kernel", "running", "repairs": [{"code", "kind", "command", "says", "loses", "undo", "then"}]};
  kind "here" is done by POST, and "kernel" (the one that was examined is restarted), if it has a
  command; "restart", "packages" and "kernels" are where JupyterLab leads to;
  running: the code that is being mended, or ""
- POST   gpucamp/doctor/repairs {"code", "command"} -> NDJSON: {"event": "output", "text"}, ...,
  {"event": "repaired", "code", "then"}, then the events of an examination of the same kernel: of
  the running one, if that was examined and still runs
- DELETE gpucamp/doctor/repairs -> {"stopped": bool}: ends the repair that runs

The command is the consent: it must be the one that GET showed, else nothing is done (409). A repair
goes on when the reader of its events is lost; after one, the last examination offers nothing any
more, because it tells of what was before.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

from jupyter_server.auth.decorator import authorized
from tornado import web

from ... import errors, i18n
from ...i18n import N_
from ..findings import Finding
from ..handlers import DoctorHandler, describe_event
from ..kernel import Kernel, find_async
from ..report import Finished, worst_first
from .mender import Mender
from .steps import Repair

_MENDER = "gpucamp_doctor_mender"


class RepairsHandler(DoctorHandler):
    """What can be mended, and mending it."""

    @property
    def mender(self) -> Mender:
        """This server's one mender."""
        if _MENDER not in self.settings:
            self.settings[_MENDER] = Mender(self.log)
        found: Mender = self.settings[_MENDER]
        return found

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """404 before this server's first examination, and after a repair."""
        running = self.mender.running
        if running and self.examiner.last is None:
            self.reply({"kernel": "", "running": running, "repairs": []})
            return
        last = self._last()
        repairs = [
            {"code": finding.code.code, **finding.repair.describe(self.gettext)}
            for finding in _findings(last)
            if finding.repair is not None
        ]
        self.reply({"kernel": last.kernel, "running": running, "repairs": repairs})

    @web.authenticated
    @authorized
    async def post(self) -> None:
        """See the module."""
        body = self.json_object()
        code, command = body.get("code"), body.get("command")
        if not isinstance(code, str) or not isinstance(command, str):
            raise errors.BadRequest(N_("“code” and “command” must be texts."))
        if self.mender.running:
            raise errors.Conflict(N_("Another repair is under way. Wait until it is done."))
        last = self._last()
        repair = next((found.repair for found in _findings(last) if found.code.code == code), None)
        if repair is None or not repair.steps or repair.command != command:
            raise errors.Conflict(
                N_("This repair does not fit any more, so nothing was done. Examine again.")
            )
        self.examiner.last = None
        await self.stream(self._mend(code, repair, last.kernel, last.kernel_id))

    @web.authenticated
    @authorized
    async def delete(self) -> None:
        """See the module."""
        self.reply({"stopped": await self.mender.stop()})

    async def _mend(
        self, code: str, repair: Repair, name: str, kernel_id: str
    ) -> AsyncGenerator[Mapping[str, Any], None]:
        gettext = i18n.gettext_for(self.locale_name)
        mending = self.mender.mend(code, repair, self.settings["kernel_manager"])
        async with aclosing(mending) as texts:
            async for text in texts:
                yield {"event": "output", "text": text}
        yield {"event": "repaired", "code": code, "then": [gettext(one) for one in repair.then]}
        manager, kernels = self.settings["kernel_spec_manager"], self.running_kernels

        if not kernels.runs(kernel_id):
            kernel_id = ""

        async def find() -> Kernel:
            if kernel_id:
                return await kernels.find(kernel_id, name, os.environ)
            return await find_async(name, manager, os.environ)

        found = self.examiner.events(name, find, kernel_id)
        async with aclosing(found) as events:
            async for event in events:
                yield describe_event(event, gettext, self.docs_url)

    def _last(self) -> Finished:
        last = self.examiner.last
        if last is None:
            raise errors.NotFound(N_("There is no report yet; examine a kernel first."))
        return last


def _findings(finished: Finished) -> list[Finding]:
    return worst_first(finding for outcome in finished.outcomes for finding in outcome.findings)


async def stop(settings: Mapping[str, Any]) -> None:
    """Ends a running repair, when the server stops."""
    mender = settings.get(_MENDER)
    if mender is not None:
        await mender.stop()


handlers = [(r"/gpucamp/doctor/repairs", RepairsHandler)]
