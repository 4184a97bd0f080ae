"""The doctor over REST.

- POST gpucamp/doctor/examinations {"kernel": "python3"} -> NDJSON events, findings as they become
certain
- GET  gpucamp/doctor/report -> the last report
- GET  gpucamp/doctor/findings/GC101 -> what a code means, as a page

Language: `?locale=`, "locale" in the body, or Accept-Language.
"""

from __future__ import annotations

import asyncio
import html
import os
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
from .kernel import find_async
from .report import Finished
from .settings import Settings

SETTINGS = "gpucamp_doctor_settings"
_EXAMINER = "gpucamp_doctor_examiner"
_LONGEST_NAME = 200

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
            self.settings[_EXAMINER] = Examiner(self.doctor_settings, self.log)
        found: Examiner = self.settings[_EXAMINER]
        return found

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
        kernel = body.get("kernel", "python3")
        if not isinstance(kernel, str) or not 0 < len(kernel) <= _LONGEST_NAME:
            raise errors.BadRequest(N_("“kernel” must be the name of a kernel."))
        wish = body.get("locale")
        locale = i18n.negotiate(wish) if isinstance(wish, str) and wish else self.locale_name
        manager = self.settings["kernel_spec_manager"]

        async def described() -> AsyncGenerator[Mapping[str, Any], None]:
            found = self.examiner.events(kernel, lambda: find_async(kernel, manager, os.environ))
            async with aclosing(found) as events:
                async for event in events:
                    yield describe_event(event, i18n.gettext_for(locale), self.docs_url)

        await self.stream(described())


def describe_event(event: Event, gettext: i18n.Gettext, docs_url: str) -> dict[str, Any]:
    """An event as a line of the stream."""
    if isinstance(event, Started):
        return {"event": "started", "kernel": event.kernel, "checks": event.checks}
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
