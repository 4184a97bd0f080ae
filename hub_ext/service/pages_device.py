"""The page of one device: its state, its health over time, who holds it and its memory, who had it.

Guarantees: what is shown is what REST tells the same visitor; the buttons ask REST; the strip of
its health shows a period of at most a month, and each of its spans stands in a table, too.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, timedelta
from typing import Any

from ..errors import BadRequest
from ..i18n import _
from ..ledger.searches import LeaseSearch
from ..models import DeviceState
from ..scopes import DEVICES_MANAGE, DEVICES_READ, LEASES_MANAGE, LEASES_READ
from . import health_strip
from .admin_views import lease_view, whole_device_view
from .auth import requires
from .device_memory import by_holder
from .device_reasons import device_reason
from .page_base import Live, PageHandler
from .pages_admin import devices_view, notice_minutes, place_hint, short_names

PERIODS = (1, 7, 30)  # days
MOST_CHANGES = 500  # of a device that comes and goes all the time; what is before is unknown
MOST_LEASES = 20


class DevicePage(PageHandler):
    """One device."""

    @requires(DEVICES_READ)
    async def get(self, device_id: str) -> None:
        days = self.get_query_argument("days", "7")
        if days not in map(str, PERIODS):
            raise BadRequest(_("Choose one of the periods that the page offers."))
        device = await whole_device_view(self.service, device_id)
        others = await devices_view(self.service)
        # the next full minute: the strip is the same until then
        now = self.service.now().astimezone(UTC).replace(second=0, microsecond=0)
        until = now + timedelta(minutes=1)
        since = until - timedelta(int(days))
        history = await asyncio.to_thread(
            self.service.ledger.device_history, device_id, MOST_CHANGES
        )
        spans = health_strip.spans(
            history,
            DeviceState(device["state"]),
            since,
            until,
            whole=len(history) < MOST_CHANGES,
        )
        sees_leases = self.caller.holds_for_all(LEASES_READ)
        self.show(
            "device.html",
            device=device,
            hint=place_hint(device, short_names(others)),
            slots=slots(device),
            shares=None if device["processes"] is None else by_holder(device["processes"]),
            days=int(days),
            periods=PERIODS,
            bars=health_strip.bars(spans, since, until),
            ticks=health_strip.ticks(since, until),
            spans=[
                {
                    "state": span.state,
                    "begin": span.begin.isoformat(),
                    "end": span.end.isoformat() if span.end < until else None,
                    "cut": span.begin == since,
                    "length": span.end - span.begin,
                    "reason": device_reason(span.reason),
                }
                for span in reversed(spans)
            ],
            leases=await self._leases(device_id) if sees_leases else None,
            manages=self.caller.holds_for_all(DEVICES_MANAGE),
            manages_leases=self.caller.holds_for_all(LEASES_MANAGE),
            notice_minutes=await notice_minutes(self.service),
            live=Live(poll=15),  # who holds its memory is no event
        )

    async def _leases(self, uuid: str) -> list[dict[str, Any]]:
        """Those that were granted it last, the latest first."""
        sought = LeaseSearch(include_ended=True, device=uuid)
        found = await asyncio.to_thread(self.service.ledger.find_leases, sought, MOST_LEASES)
        return [lease_view(each) for each in found]


def slots(device: dict[str, Any]) -> list[dict[str, Any]]:
    """Each slot of a shared device with the lease that holds it, or None."""
    leases = {lease["id"]: lease for lease in device["leases"]}
    return [
        {"number": number, "lease": leases.get(held) if held is not None else None}
        for number, held in enumerate(device["slot_leases"], start=1)
    ]


ROUTES: list[tuple[str, type[PageHandler]]] = [
    (r"devices/(?P<device_id>[^/]+)", DevicePage),
]
