"""The doctor over REST.

- POST gpucamp/doctor/examinations {"kernel": "python3"} or {"kernel_id": "..."} of one that runs ->
NDJSON events, findings as they become certain
- GET  gpucamp/doctor/report -> the last report
- GET  gpucamp/doctor/findings/GC101 -> what a code means, as a page

Language: `?locale=`, "locale" in the body, or Accept-Language.
"""

from __future__ import annotations

import asyncio
import html
import os
import re
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

import mistune
from jupyter_server.auth.decorator import authorized
from tornado import web

from .. import errors, i18n
from ..handlers import GpucampHandler
from ..i18n import N_
from . import pages, report, report_store
from .examination import Event, Found, Probed, Started
from .examiner import Examiner
from .kernel import Kernel, find_async
from .report import Finished
from .running_kernels import RunningKernels
from .settings import Settings

SETTINGS = "gpucamp_doctor_settings"
_EXAMINER = "gpucamp_doctor_examiner"
_LONGEST_NAME = 200
_ID = re.compile(r"[\w-]{1,200}", re.ASCII)

_PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<style>body{{font:16px/1.6 system-ui,sans-serif;max-width:44rem;margin:2rem auto;padding:0 1rem;
color:#1f2328;background:#fff}}code{{background:#eff1f3;padding:.1em .3em;border-radius:4px}}
pre code{{display:block;padding:1em;overflow:auto}}
@media (prefers-color-scheme:dark){{body{{color:#e6edf3;background:#0d1117}}
code{{background:#1f2630}}a{{color:#58a6ff}}}}</style></head><body><main>{body}</main></body></html>
"""


class DoctorHandler(GpucampHandler):
    """What the doctor's handlers share."""

    @property
    def doctor_settings(self) -> Settings:
        """As app.py made them."""
        settings: Settings = self.settings[SETTINGS]
        return settings

    @property
    def examiner(self) -> Examiner:
        """This server's one examiner."""
        if _EXAMINER not in self.settings:
            kernels = self.running_kernels
            self.settings[_EXAMINER] = Examiner(
                self.doctor_settings, self.log, lambda: kernels.table(os.environ)
            )
        found: Examiner = self.settings[_EXAMINER]
        return found

    @property
    def running_kernels(self) -> RunningKernels:
        """The kernels of this server."""
        managers = ("kernel_manager", "session_manager", "kernel_spec_manager")
        return RunningKernels(*(self.settings[name] for name in managers))

    @property
    def docs_url(self) -> str:
        """Where a code's page is, with {code} to fill in."""
        return self.base_url + "gpucamp/doctor/findings/{code}"


class ExaminationsHandler(DoctorHandler):
    """Examines a kernel."""

    @web.authenticated
    @authorized
    async def post(self) -> None:
        """See the module."""
        body = self.json_object()
        kernel, kernel_id = self._which(body)
        wish = body.get("locale")
        locale = i18n.negotiate(wish) if isinstance(wish, str) and wish else self.locale_name
        manager, kernels = self.settings["kernel_spec_manager"], self.running_kernels

        async def find() -> Kernel:
            if kernel_id:
                return await kernels.find(kernel_id, kernel, os.environ)
            return await find_async(kernel, manager, os.environ)

        async def described() -> AsyncGenerator[Mapping[str, Any], None]:
            found = self.examiner.events(kernel, find, kernel_id)
            async with aclosing(found) as events:
                async for event in events:
                    yield describe_event(event, i18n.gettext_for(locale), self.docs_url)

        await self.stream(described())

    def _which(self, body: Mapping[str, Any]) -> tuple[str, str]:
        """The name of the spec, and the id of the kernel if one that runs is meant. Raises
        BadRequest, NotFound.
        """
        if "kernel" in body and "kernel_id" in body:
            raise errors.BadRequest(N_("Send “kernel” or “kernel_id”, not both."))
        kernel, kernel_id = body.get("kernel", "python3"), body.get("kernel_id")
        if not isinstance(kernel, str) or not 0 < len(kernel) <= _LONGEST_NAME:
            raise errors.BadRequest(N_("“kernel” must be the name of a kernel."))
        if "kernel_id" not in body:
            return kernel, ""
        if not isinstance(kernel_id, str) or not _ID.fullmatch(kernel_id):
            raise errors.BadRequest(N_("“kernel_id” must be the id of a running kernel."))
        return self.running_kernels.name_of(kernel_id), kernel_id


def describe_event(event: Event, gettext: i18n.Gettext, docs_url: str) -> dict[str, Any]:
    """An event as a line of the stream."""
    if isinstance(event, Started):
        return {
            "event": "started",
            "kernel": event.kernel,
            "kernel_id": event.kernel_id,
            "checks": event.checks,
        }
    if isinstance(event, Probed):
        return {
            "event": "probe",
            "name": event.name,
            "seconds": round(event.seconds, 3),
            "failed": event.failed,
            "decided": event.decided,
        }
    if isinstance(event, Found):
        return {"event": "finding", "finding": event.finding.describe(gettext, docs_url)}
    assert isinstance(event, Finished)  # noqa: S101 - for the type checker
    return {"event": "finished", "report": report.describe(event, gettext, docs_url)}


class ReportHandler(DoctorHandler):
    """The last report."""

    _track_activity = False

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """404 before the first examination."""
        last = await asyncio.to_thread(report_store.load, self.doctor_settings.report_file)
        if last is None:
            raise errors.NotFound(N_("There is no report yet; examine a kernel first."))
        self.reply(report_store.localised(last, self.gettext, self.docs_url))


class FindingPageHandler(DoctorHandler):
    """What a code means."""

    @property
    def content_security_policy(self) -> str:
        """No scripts and nothing from elsewhere; the page's own style."""
        return "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'self'"

    @web.authenticated
    @authorized
    async def get(self, code: str) -> None:
        """An HTML page."""
        text = await asyncio.to_thread(pages.page, code)
        if text is None:
            raise errors.NotFound(N_("There is no page for {code}."), code=code)
        body = str(mistune.html(text))
        await self.finish(
            _PAGE.format(title=html.escape(code), body=body),
            set_content_type="text/html; charset=utf-8",
        )


async def stop(settings: Mapping[str, Any]) -> None:
    """Ends a running examination, when the server stops."""
    examiner = settings.get(_EXAMINER)
    if examiner is not None:
        await examiner.stop()


handlers = [
    (r"/gpucamp/doctor/examinations", ExaminationsHandler),
    (r"/gpucamp/doctor/report", ReportHandler),
    (r"/gpucamp/doctor/findings/(GC\d{3})", FindingPageHandler),
]
