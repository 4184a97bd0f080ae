"""Pages for those who look after the devices: devices, the line, who used how much.

Guarantees: what is shown is what REST tells the same visitor; the buttons ask REST.
"""

from __future__ import annotations

import asyncio
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

from ..errors import BadRequest
from ..i18n import _
from ..scopes import DEVICES_MANAGE, DEVICES_READ, LEASES_MANAGE, LEASES_READ
from ..terms import usual_notice
from .admin_views import Json, devices_view, queue_view
from .auth import requires
from .chart import stacked
from .device_memory import by_holder, memory_view
from .page_base import PageHandler
from .report import first_day, summed
from .wording import link_text

if TYPE_CHECKING:
    from .parts import Service

SHOWN = ("user", "group", "device")
MOST_DAYS = 92
DAYS = 7  # unless others are chosen


class DevicesPage(PageHandler):
    """All devices, who holds them, and the buttons for maintenance."""

    @requires(DEVICES_READ)
    async def get(self) -> None:
        devices = await devices_view(self.service)
        names = short_names(devices)
        tell = any(
            each.detail is not None and each.detail.processes is not None
            for each in self.service.monitor.seen().values()
        )
        self.show(
            "devices.html",
            names=names,
            memory=by_holder(await memory_view(self.service)) if tell else None,
            devices=[{**device, "hint": place_hint(device, names)} for device in devices],
            manages=self.caller.holds_for_all(DEVICES_MANAGE),
            manages_leases=self.caller.holds_for_all(LEASES_MANAGE),
            notice_minutes=await notice_minutes(self.service),
        )


async def notice_minutes(service: Service) -> int:
    """How long before its end the user of a revoked lease hears of it, unless somebody says."""
    policy = await asyncio.to_thread(service.ledger.policy)
    return int(usual_notice(policy).total_seconds() // 60)


class QueuePage(PageHandler):
    """Who waits."""

    @requires(LEASES_READ)
    async def get(self) -> None:
        devices = await devices_view(self.service)
        self.show(
            "queue.html",
            queue=await queue_view(self.service),
            names=short_names(devices),
            manages=self.caller.holds_for_all(LEASES_MANAGE),
        )


class UsagePage(PageHandler):
    """Who used how much, by day."""

    @requires(LEASES_READ)
    async def get(self) -> None:
        today = self.service.now().date()
        until = self._day("until", today)
        since = self._day("since", first_day(until, DAYS))
        by = self.get_query_argument("by", "user")
        if by not in SHOWN or not since <= until or (until - since).days >= MOST_DAYS:
            raise BadRequest(
                _("Choose a first day that is not after the last, at most {days} days.").format(
                    days=MOST_DAYS
                )
            )
        now = self.service.now()
        ledger = self.service.ledger
        found = await asyncio.to_thread(ledger.usage_sums, since, until, now, (by, "day"))
        hours = {
            (str(row[by]), date.fromisoformat(str(row["day"]))): float(str(row["device_seconds"]))
            / 3600
            for row in summed(found, (by, "day"))
        }
        names = short_names(await devices_view(self.service)) if by == "device" else {}
        named = {(names.get(name, name), day): value for (name, day), value in hours.items()}
        chart = stacked(named, since, until)
        self.show(
            "usage.html",
            chart=chart,
            rows=table(named),
            by=by,
            since=since.isoformat(),
            until=until.isoformat(),
            days=[(since + timedelta(n)).isoformat() for n in range((until - since).days + 1)],
        )

    def _day(self, name: str, default: date) -> date:
        try:
            return date.fromisoformat(self.get_query_argument(name, "") or default.isoformat())
        except ValueError as error:
            raise BadRequest(
                _("{name} must be a day, such as 2026-01-31.").format(name=name)
            ) from error


def table(hours: dict[tuple[str, date], float]) -> list[dict[str, Any]]:
    """Rows of a table, most used first: name, total and hours by day."""
    rows: dict[str, dict[str, Any]] = {}
    for (name, day), value in hours.items():
        row = rows.setdefault(name, {"name": name, "total": 0.0, "days": {}})
        row["total"] += value
        row["days"][day.isoformat()] = row["days"].get(day.isoformat(), 0.0) + value
    return sorted(rows.values(), key=lambda row: (-row["total"], row["name"]))


def short_names(devices: list[Json]) -> dict[str, str]:
    """A short name for each device: the last digits of its UUID that tell it from the others."""
    uuids = [device["uuid"] for device in devices]
    for length in range(4, 40):
        short = {uuid: "…" + uuid[-length:] for uuid in uuids}
        if len(set(short.values())) == len(uuids):
            return short
    return {uuid: uuid for uuid in uuids}


def place_hint(device: Json, names: dict[str, str]) -> str:
    """Where a device is and how it is linked, in one line: "NUMA node 0, NVLink with …0a1b"."""
    parts = []
    if device["numa_node"] is not None:
        parts.append(_("NUMA node {number}").format(number=device["numa_node"]))
    if device["links"]:
        best = device["links"][0]["link"]
        others = [each for each in device["links"] if each["link"] == best]
        told = ", ".join(names.get(each["uuid"], each["uuid"]) for each in others)
        parts.append(link_text(others[0]["score"], told))
    return " · ".join(part for part in parts if part)


ROUTES: list[tuple[str, type[PageHandler]]] = [
    (r"devices", DevicesPage),
    (r"queue", QueuePage),
    (r"usage", UsagePage),
]
