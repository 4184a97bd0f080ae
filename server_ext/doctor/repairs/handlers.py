"""Repairs over REST.

- GET  gpucamp/doctor/repairs -> what the last examination's findings offer:
  {"kernel", "repairs": [{"code", "kind", "command", "says"}]}; kind "here" is done by POST,
  "restart", "reset" and "kernels" are where JupyterLab leads to
- POST gpucamp/doctor/repairs {"code", "command"} -> NDJSON: {"event": "output", "text"}, ...,
  {"event": "repaired", "code"}, then the events of an examination of the same kernel

The command is the consent: it must be the one that GET showed, else nothing is done (409).
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

from jupyter_server.auth.decorator import authorized
from tornado import web

from ... import errors, i18n
from ...i18n import N_
from ..facts import Facts
from ..findings import Finding
from ..handlers import DoctorHandler, describe_event
from ..kernel import Kernel, find_async
from ..report import Finished
from .carry_out import carry_out
from .plan import Repair, elsewhere, plan

# the server's own pip, isolated: the kernel's may be missing or broken
PIP = (sys.executable, "-I", "-m", "pip")
_LOCK = "gpucamp_doctor_repair"


class RepairsHandler(DoctorHandler):
    """What can be mended, and mending it."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """404 before this server's first examination."""
        last, kernel = await self._last()
        repairs = []
        for finding in _findings(last):
            found = plan(finding, Facts(last.results), kernel, PIP)
            kind = "here" if found is not None else elsewhere(finding.code.code)
            if kind is not None:
                repairs.append(
                    {
                        "code": finding.code.code,
                        "kind": kind,
                        "command": found.step.command if found is not None else "",
                        "says": self.gettext(found.says) if found is not None else "",
                    }
                )
        self.reply({"kernel": last.kernel, "repairs": repairs})

    @web.authenticated
    @authorized
    async def post(self) -> None:
        """See the module."""
        body = self.json_object()
        code, command = body.get("code"), body.get("command")
        if not isinstance(code, str) or not isinstance(command, str):
            raise errors.BadRequest(N_("“code” and “command” must be texts."))
        last, kernel = await self._last()
        repair = next(
            (
                found
                for finding in _findings(last)
                if finding.code.code == code
                and (found := plan(finding, Facts(last.results), kernel, PIP)) is not None
            ),
            None,
        )
        if repair is None or repair.step.command != command:
            raise errors.Conflict(
                N_("This repair does not fit any more, so nothing was done. Examine again.")
            )
        lock = self.settings.setdefault(_LOCK, asyncio.Lock())
        if lock.locked():
            raise errors.Conflict(N_("Another repair is under way. Wait until it is done."))
        async with lock:
            await self.stream(self._mend(repair, last.kernel, kernel))

    async def _mend(
        self, repair: Repair, name: str, kernel: Kernel
    ) -> AsyncGenerator[Mapping[str, Any], None]:
        manager = self.settings["kernel_spec_manager"]
        folder = await asyncio.to_thread(_folder, manager, name)
        self.log.info("gpucamp doctor mends %s: %s", repair.code, repair.step.command)
        async with aclosing(carry_out(repair, kernel, folder)) as texts:
            async for text in texts:
                yield {"event": "output", "text": text}
        yield {"event": "repaired", "code": repair.code}
        gettext = i18n.gettext_for(self.locale_name)
        found = self.examiner.events(name, lambda: find_async(name, manager, os.environ))
        async with aclosing(found) as events:
            async for event in events:
                yield describe_event(event, gettext, self.docs_url)

    async def _last(self) -> tuple[Finished, Kernel]:
        last = self.examiner.last
        if last is None:
            raise errors.NotFound(N_("There is no report yet; examine a kernel first."))
        manager = self.settings["kernel_spec_manager"]
        return last, await find_async(last.kernel, manager, os.environ)


def _findings(finished: Finished) -> list[Finding]:
    return [finding for outcome in finished.outcomes for finding in outcome.findings]


def _folder(manager: Any, name: str) -> str:
    """Of the kernel's settings; "" if there is none (any more)."""
    try:
        return str(manager.get_kernel_spec(name).resource_dir)
    except Exception:  # NoSuchKernel, broken JSON, a folder that cannot be read
        return ""


handlers = [(r"/gpucamp/doctor/repairs", RepairsHandler)]
