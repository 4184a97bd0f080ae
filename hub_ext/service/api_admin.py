"""REST for those who look after the devices: devices, leases, the line, the trail, maintenance.

Guarantees: needs the scope for all, without a filter; a list is limited, and says how to go on.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import datetime, timedelta

from ..errors import BadRequest, NotFound
from ..i18n import _
from ..ledger.searches import AuditSearch, LeaseSearch
from ..models import Cordon, DeviceState, LeaseState
from ..policy_checks import MOST_SLOTS
from ..scopes import DEVICES_MANAGE, DEVICES_READ, LEASES_READ
from .admin_views import (
    audit_view,
    device_view,
    devices_view,
    health_view,
    lease_view,
    queue_view,
    whole_device_view,
)
from .api_base import ApiHandler, moment, text, whole
from .api_lists import ListHandler, flag, line_page, one_of, sorted_page, words
from .auth import requires
from .device_memory import memory_view
from .report import DIMENSIONS, as_csv, first_day, summed

MOST_MINUTES = 7 * 24 * 60  # of a drain
LONGEST_REASON = 200
DAYS = 7  # of a report whose beginning is not given

_log = logging.getLogger(__name__)


class DevicesHandler(ListHandler):
    filters = {
        "state": one_of(*(state.value for state in DeviceState)),
        "pool": words,
        "free": flag,
    }

    @requires(DEVICES_READ)
    async def get(self) -> None:
        wanted = self.wanted()
        rows = [
            row
            for row in await devices_view(self.service)
            if wanted.admits(state=row["state"], pool=row["pool"], free=row["free"])
        ]
        self.answer_page("devices", *sorted_page(rows, lambda row: (row["uuid"],), wanted))


class DeviceHandler(ApiHandler):
    @requires(DEVICES_READ)
    async def get(self, device_id: str) -> None:
        self.answer({"device": await whole_device_view(self.service, device_id)})


class DeviceHistoryHandler(ListHandler):
    @requires(DEVICES_READ)
    async def get(self, device_id: str) -> None:
        wanted = self.wanted()
        before = int(wanted.after[0]) if wanted.after is not None else None
        try:
            found = await asyncio.to_thread(
                self.service.ledger.device_history, device_id, wanted.limit + 1, before
            )
        except NotFound as error:
            raise NotFound(_("There is no such device.")) from error
        page = found[: wanted.limit]
        end = (page[-1].number,) if len(found) > wanted.limit else None
        self.answer_page("history", [health_view(each) for each in page], end)


class DeviceChanger(ApiHandler):
    """Base: an admin's word about a device, and what it is then."""

    async def set_cordon(self, uuid: str, cordon: Cordon, reason: str) -> None:
        """Raises NotFound, LedgerUnavailable."""
        try:
            await asyncio.to_thread(
                self.service.ledger.cordon,
                uuid,
                cordon,
                reason,
                self.service.now(),
                actor=self.caller.name,
            )
        except NotFound as error:
            raise NotFound(_("There is no such device.")) from error
        _log.info("%s: device %s is %s", self.caller.name, uuid, cordon.value or "not cordoned")
        await self.answer_device(uuid)

    async def answer_device(self, uuid: str) -> None:
        """The device as it is now."""
        snapshot = await asyncio.to_thread(self.service.ledger.snapshot, self.service.now())
        by_id = {lease.id: lease for lease in snapshot.leases}
        for record in snapshot.devices:
            if record.device.uuid == uuid:
                self.answer({"device": device_view(record, by_id)})
                return
        raise NotFound(_("There is no such device."))


class CordonHandler(DeviceChanger):
    @requires(DEVICES_MANAGE)
    async def post(self, device_id: str) -> None:
        given = self.body({}, {"reason": text(LONGEST_REASON)})
        await self.set_cordon(device_id, Cordon.CORDONED, given.get("reason", ""))


class UncordonHandler(DeviceChanger):
    @requires(DEVICES_MANAGE)
    async def post(self, device_id: str) -> None:
        self.empty_body()
        await self.set_cordon(device_id, Cordon.NONE, "")


class DrainHandler(DeviceChanger):
    @requires(DEVICES_MANAGE)
    async def post(self, device_id: str) -> None:
        given = self.body({"minutes": whole(0, MOST_MINUTES)}, {"reason": text(LONGEST_REASON)})
        now = self.service.now()
        try:
            leases = await asyncio.to_thread(
                self.service.ledger.drain,
                device_id,
                now + timedelta(minutes=given["minutes"]),
                given.get("reason", ""),
                now,
                actor=self.caller.name,
            )
        except NotFound as error:
            raise NotFound(_("There is no such device.")) from error
        _log.info("%s drains device %s of %d leases", self.caller.name, device_id, len(leases))
        await self.answer_device(device_id)


class SlotsHandler(DeviceChanger):
    @requires(DEVICES_MANAGE)
    async def post(self, device_id: str) -> None:
        given = self.body({}, {"slots": whole(1, MOST_SLOTS), "reason": text(LONGEST_REASON)})
        try:
            await asyncio.to_thread(
                self.service.ledger.divide,
                device_id,
                given.get("slots"),
                given.get("reason", ""),
                self.service.now(),
                actor=self.caller.name,
            )
        except NotFound as error:
            raise NotFound(_("There is no such device.")) from error
        slots = given.get("slots", "as many slots as configured")
        _log.info("%s: device %s has %s", self.caller.name, device_id, slots)
        await self.answer_device(device_id)


class MemoryHandler(ListHandler):
    filters = {"device": words, "user": words}

    @requires(DEVICES_READ)
    async def get(self) -> None:
        wanted = self.wanted()
        rows = [
            row
            for row in await memory_view(self.service)
            if wanted.admits(device=row["device"], user=row["user"])
        ]
        page = sorted_page(rows, lambda row: (row["device"], row["pid"]), wanted)
        self.answer_page("processes", *page)


class LeasesHandler(ListHandler):
    """The latest that was granted first; those that have ended only if they are asked for."""

    filters = {
        "include_ended": flag,
        "state": one_of(*(state.value for state in LeaseState)),
        "user": words,
        "group": words,
        "device": words,
        "since": moment,
        "until": moment,
    }

    @requires(LEASES_READ)
    async def get(self) -> None:
        wanted = self.wanted()
        given = dict(wanted.given)
        sought = LeaseSearch(include_ended=given.pop("include_ended", False), **given)
        after = None
        if wanted.after is not None:
            at, lease_id = wanted.after
            after = datetime.fromisoformat(str(at)), str(lease_id)
        found = await asyncio.to_thread(
            self.service.ledger.find_leases, sought, wanted.limit + 1, after
        )
        page = found[: wanted.limit]
        end = None
        if len(found) > wanted.limit:
            end = (page[-1].granted_at.isoformat(), page[-1].id)
        self.answer_page("leases", [lease_view(each) for each in page], end)


class QueueHandler(ListHandler):
    filters = {"user": words, "group": words}

    @requires(LEASES_READ)
    async def get(self) -> None:
        wanted = self.wanted()
        rows = [
            row
            for row in await queue_view(self.service)
            if wanted.admits(user=row["user"], group=tuple(row["groups"]))
        ]
        page = line_page(rows, lambda row: (row["user"], row["server"]), wanted)
        self.answer_page("queue", *page)


class AuditHandler(ListHandler):
    filters = {
        "user": words,
        "lease": words,
        "actor": words,
        "action": words,
        "since": moment,
        "until": moment,
    }

    @requires(LEASES_READ)
    async def get(self) -> None:
        wanted = self.wanted()
        found = await asyncio.to_thread(
            self.service.ledger.find_audit,
            AuditSearch(**wanted.given),
            wanted.limit + 1,
            int(wanted.after[0]) if wanted.after is not None else None,
        )
        page = found[: wanted.limit]
        end = (page[-1].number,) if len(found) > wanted.limit else None
        self.answer_page("audit", [audit_view(each) for each in page], end)


class UsageHandler(ApiHandler):
    query = frozenset({"since", "until", "by", "format"})

    @requires(LEASES_READ)
    async def get(self) -> None:
        now = self.service.now()
        until = self.day_argument("until", now.date())
        since = self.day_argument("since", first_day(until, DAYS))
        by = list(dict.fromkeys(self.get_query_argument("by", "user").split(",")))
        if not set(by) <= set(DIMENSIONS):
            raise BadRequest(
                _("by must name some of {names}, with commas between them.").format(
                    names=", ".join(DIMENSIONS)
                )
            )
        form = self.get_query_argument("format", "json")
        if form not in ("json", "csv"):
            raise BadRequest(_("format must be json or csv."))
        found = await asyncio.to_thread(self.service.ledger.usage_sums, since, until, now, by)
        rows = await asyncio.to_thread(summed, found, by)
        if form == "csv":
            self.set_header("Content-Type", "text/csv; charset=utf-8")
            self.set_header(
                "Content-Disposition", f'attachment; filename="usage-{since}-{until}.csv"'
            )
            self.finish(as_csv(rows, by))
            return
        self.answer(
            {"since": since.isoformat(), "until": until.isoformat(), "by": by, "usage": rows}
        )


ROUTES: list[tuple[str, type[ApiHandler]]] = [
    (r"api/v1/devices", DevicesHandler),
    (r"api/v1/devices/(?P<device_id>[^/]+)", DeviceHandler),
    (r"api/v1/devices/(?P<device_id>[^/]+)/history", DeviceHistoryHandler),
    (r"api/v1/devices/(?P<device_id>[^/]+)/cordon", CordonHandler),
    (r"api/v1/devices/(?P<device_id>[^/]+)/drain", DrainHandler),
    (r"api/v1/devices/(?P<device_id>[^/]+)/uncordon", UncordonHandler),
    (r"api/v1/devices/(?P<device_id>[^/]+)/slots", SlotsHandler),
    (r"api/v1/memory", MemoryHandler),
    (r"api/v1/leases", LeasesHandler),
    (r"api/v1/queue", QueueHandler),
    (r"api/v1/audit", AuditHandler),
    (r"api/v1/usage", UsageHandler),
]
