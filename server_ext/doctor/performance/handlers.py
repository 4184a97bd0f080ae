"""The performance examination over REST.

- POST gpucamp/doctor/performance {"kernel": "python3"} -> NDJSON events: {"event": "started",
  "kernel"}, {"event": "step", "name", "title", "done", "steps"}, {"event": "figure", "figure"},
  {"event": "skipped", "skipped"}, {"event": "finding", "finding"}, {"event": "finished", "result"}
- GET  gpucamp/doctor/performance -> the last result

Figures are in FLOPS and bytes per second.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

from jupyter_server.auth.decorator import authorized
from tornado import web

from ... import errors, i18n
from ...i18n import N_
from .. import report_store
from ..findings import Finding
from ..handlers import DoctorHandler
from ..kernel import find_async
from . import figures
from .figures import Figure, Skipped
from .measure import Begun, Event, Measured, Step
from .measurer import Measurer, describe, localised, result_file

_MEASURER = "gpucamp_doctor_measurer"
_LONGEST_NAME = 200


class PerformanceHandler(DoctorHandler):
    """Measures, and tells the last result."""

    @property
    def measurer(self) -> Measurer:
        """This server's one measurer."""
        if _MEASURER not in self.settings:
            self.settings[_MEASURER] = Measurer(self.doctor_settings, self.log)
        found: Measurer = self.settings[_MEASURER]
        return found

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """404 before the first measurement."""
        last = await asyncio.to_thread(report_store.load, result_file(self.doctor_settings))
        if last is None:
            raise errors.NotFound(N_("Nothing was measured yet."))
        self.reply(localised(last, self.gettext, self.docs_url))

    @web.authenticated
    @authorized
    async def post(self) -> None:
        """See the module."""
        kernel = self.json_object().get("kernel", "python3")
        if not isinstance(kernel, str) or not 0 < len(kernel) <= _LONGEST_NAME:
            raise errors.BadRequest(N_("“kernel” must be the name of a kernel."))
        manager = self.settings["kernel_spec_manager"]
        gettext = i18n.gettext_for(self.locale_name)

        async def described() -> AsyncGenerator[Mapping[str, Any], None]:
            found = self.measurer.events(lambda: find_async(kernel, manager, os.environ))
            async with aclosing(found) as events:
                async for event in events:
                    yield describe_event(event, gettext, self.docs_url)

        await self.stream(described())


def describe_event(event: Event, gettext: i18n.Gettext, docs_url: str) -> dict[str, Any]:
    """An event as a line of the stream."""
    match event:
        case Begun():
            return {"event": "started", "kernel": event.kernel}
        case Step():
            title = figures.FIGURES.get(event.name.rpartition(" ")[2])
            return {
                "event": "step",
                "name": event.name,
                "title": gettext(title) if title else "",
                "done": event.done,
                "steps": event.steps,
            }
        case Figure():
            return {"event": "figure", "figure": event.describe(gettext)}
        case Skipped():
            return {"event": "skipped", "skipped": event.describe(gettext)}
        case Finding():
            return {"event": "finding", "finding": event.describe(gettext, docs_url)}
        case Measured():
            return {"event": "finished", "result": describe(event, gettext, docs_url)}


async def stop(settings: Mapping[str, Any]) -> None:
    """Ends a running measurement, when the server stops."""
    measurer = settings.get(_MEASURER)
    if measurer is not None:
        await measurer.stop()


handlers = [(r"/gpucamp/doctor/performance", PerformanceHandler)]
