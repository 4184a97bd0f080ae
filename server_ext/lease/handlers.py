"""The lease over REST: `<base_url>/gpucamp/lease` and what its user may do about it.

GET gpucamp/lease: `{state, now, mine, lease, queue, notices, quota, warn_minutes, hand}`.
`state` is "known", "unknown" (the service does not answer; the rest is its last word) or "none" (no
hub of gpucamp started this server). `now` is the service's clock. POST gpucamp/lease/extend,
gpucamp/lease/keep ("I am using it"), gpucamp/notices/read {"up_to": id}, gpucamp/hand {"text": "…"}
(ask for help) and gpucamp/hand/lower answer the same.

Guarantees: a service that is down is a state, not an error; looking is no activity, so the culler
still sees an idle server; only the user that the server belongs to may change anything, and
someone it was shared with sees neither notices nor quota.
"""

from __future__ import annotations

import os
from typing import Any

from jupyter_server.auth.decorator import authorized
from tornado import web

from ..errors import BadRequest, ServiceUnavailable
from ..handlers import GpucampHandler
from ..i18n import N_
from ..service_client import ServiceClient
from .readings import LeaseReadings, Reading
from .view import NOTHING, Json, for_others

LONGEST_TEXT = 200  # as the service has it
READINGS = "gpucamp_lease_readings"  # in the server's settings


class _LeaseHandler(GpucampHandler):
    @property
    def readings(self) -> LeaseReadings:
        readings: LeaseReadings = self.settings.setdefault(READINGS, LeaseReadings())
        return readings

    def client(self) -> ServiceClient:
        """Raises ServiceUnavailable where no hub of gpucamp started this server."""
        return ServiceClient.from_environment(os.environ, self.locale_name.replace("_", "-"))

    refusal = N_("Only {user}, whose server this is, may change its lease.")

    async def change(self, action: str, body: dict[str, object] | None = None) -> None:
        """Ask for a change and answer with what the lease is after it."""
        client = self.client()
        client.refuse_others(self.current_user, self.refusal)
        self.reply_lease(await self.readings.change(client, action, body), mine=True)

    def reply_lease(self, reading: Reading, *, mine: bool) -> None:
        """Answer with a reading."""
        view = reading.view if mine else for_others(reading.view)
        self.reply(self._answer("known" if reading.fresh else "unknown", view, mine))

    def _answer(self, state: str, view: Json, mine: bool) -> dict[str, Any]:
        return {"state": state, "now": self.readings.now().isoformat(), "mine": mine, **view}


class LeaseHandler(_LeaseHandler):
    """Look."""

    _track_activity = False

    @web.authenticated
    @authorized
    async def get(self) -> None:
        try:
            client = self.client()
        except ServiceUnavailable:
            self.reply(self._answer("none", NOTHING, True))
            return
        reading = await self.readings.read(client)
        self.reply_lease(reading, mine=client.belongs_to(self.current_user))


class ExtendHandler(_LeaseHandler):
    """Have it longer, as far as the policy allows; a refusal is a 409 with the reason."""

    @web.authenticated
    @authorized
    async def post(self) -> None:
        self.empty_body()
        await self.change("/lease/extend")


class KeepHandler(_LeaseHandler):
    """The answer to the warning that an idle GPU is taken back."""

    @web.authenticated
    @authorized
    async def post(self) -> None:
        self.empty_body()
        await self.change("/lease/keep")


class ReadNoticesHandler(_LeaseHandler):
    """Notices up to this one were read."""

    @web.authenticated
    @authorized
    async def post(self) -> None:
        body = self.json_object()
        up_to = body.get("up_to")
        if set(body) != {"up_to"} or type(up_to) is not int or not 0 < up_to < 2**63:
            raise BadRequest(N_('The request must be {"up_to": the id of a notice}.'))
        await self.change("/notices/read", {"up_to": up_to})


class _HandHandler(_LeaseHandler):
    refusal = N_("Only {user}, whose server this is, may ask for help with it.")


class RaiseHandHandler(_HandHandler):
    """Ask whoever teaches for help; who asks again keeps their place."""

    @web.authenticated
    @authorized
    async def post(self) -> None:
        body = self.json_object()
        text = body.get("text", "")
        if not set(body) <= {"text"} or not isinstance(text, str) or len(text) > LONGEST_TEXT:
            raise BadRequest(
                N_('The request must be {{"text": at most {most} characters}}.'), most=LONGEST_TEXT
            )
        await self.change("/hand", {"text": " ".join(text.split())})


class LowerHandHandler(_HandHandler):
    """No help is needed any more."""

    @web.authenticated
    @authorized
    async def post(self) -> None:
        self.empty_body()
        await self.change("/hand/lower")


handlers: list[tuple[str, type[GpucampHandler]]] = [
    (r"/gpucamp/lease", LeaseHandler),
    (r"/gpucamp/lease/extend", ExtendHandler),
    (r"/gpucamp/lease/keep", KeepHandler),
    (r"/gpucamp/notices/read", ReadNoticesHandler),
    (r"/gpucamp/hand", RaiseHandHandler),
    (r"/gpucamp/hand/lower", LowerHandHandler),
]
