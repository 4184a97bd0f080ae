"""Leases of a period: a time line of devices, and the same in a table.

Guarantees: what is shown is what REST tells the same visitor; the buttons ask REST; the picture has
at most DEVICES rows and the table LEASES, with links to the others, so that a page stays as fast
as it is with many; times in the picture are UTC.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from ..errors import BadRequest
from ..i18n import _
from ..ledger.searches import LeaseSearch
from ..ledger.time_line import Tenure
from ..models import DeviceRecord, Lease
from ..scopes import LEASES_MANAGE, LEASES_READ
from .admin_views import devices_view, lease_view
from .api_base import moment
from .auth import requires
from .health_strip import Span, spans
from .lease_views import revocation_view
from .page_base import PageHandler
from .pages_admin import notice_minutes, short_names
from .time_line import time_line

PERIODS = (1, 7)  # days
DEVICES, LEASES = 16, 50
MOST_BARS = 2000
MOST_CHANGES = 200  # of a device's health
LONGEST_NAME = 255
FIRST, LAST = datetime(2000, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)


class LeasesPage(PageHandler):
    """Who had which device when, and who has."""

    @requires(LEASES_READ)
    async def get(self) -> None:
        days = self._days()
        user = self.get_query_argument("user", "")[:LONGEST_NAME]
        device = self.get_query_argument("device", "")[:LONGEST_NAME]
        number = self._number()
        after = self._after()
        now = self.service.now().astimezone(UTC)
        given = self._until()
        # of now the next full minute: the picture is the same until then
        end = given or now.replace(second=0, microsecond=0) + timedelta(minutes=1)
        since = end - timedelta(days)
        # where leases that run now are to end is worth some room
        until = end if given else end + timedelta(days) / 6
        everything = await devices_view(self.service)
        uuids = [row["uuid"] for row in everything if device in ("", row["uuid"])]
        shown = uuids[(number - 1) * DEVICES : number * DEVICES]
        tenures, health = await self._read(shown, since, until, now, user)
        sought = LeaseSearch(
            include_ended=True,
            user=user or None,
            device=device or None,
            since=since,
            until=until,
        )
        found = await asyncio.to_thread(self.service.ledger.find_leases, sought, LEASES + 1, after)
        page = found[:LEASES]
        last = page[-1] if len(found) > LEASES else None
        self.show(
            "leases.html",
            line=time_line(shown, tenures, health, since, until, now),
            names=short_names(everything),
            told={row["uuid"]: row["name"] for row in everything},
            cut=len(tenures) >= MOST_BARS,
            leases=[row(each) for each in page],
            days=days,
            periods=PERIODS,
            user=user,
            device=device,
            since=since.isoformat(),
            until=end.isoformat() if given else "",
            number=number,
            numbers=-(-len(uuids) // DEVICES),
            links={
                "earlier": self._link(until=since.isoformat(), page=None, after=None),
                "later": self._link(until=_later(end, days, now), page=None, after=None)
                if given
                else None,
                "now": self._link(until=None, after=None),
                "before": self._link(page=str(number - 1)),
                "next": self._link(page=str(number + 1)),
                "older": self._link(after=f"{last.granted_at.isoformat()}~{last.id}")
                if last is not None
                else None,
                "newest": self._link(after=None) if after is not None else None,
                "periods": {each: self._link(days=str(each), after=None) for each in PERIODS},
            },
            manages_leases=self.caller.holds_for_all(LEASES_MANAGE),
            notice_minutes=await notice_minutes(self.service),
        )

    async def _read(
        self, uuids: list[str], since: datetime, until: datetime, now: datetime, user: str
    ) -> tuple[tuple[Tenure, ...], dict[str, tuple[Span, ...]]]:
        ledger = self.service.ledger

        def read() -> tuple[tuple[Tenure, ...], dict[str, tuple[Span, ...]]]:
            records = {each.device.uuid: each for each in ledger.devices()}
            return ledger.tenures(uuids, since, until, MOST_BARS, user or None), {
                uuid: self._health(records[uuid], since, min(until, now)) for uuid in uuids
            }

        return await asyncio.to_thread(read)

    def _health(self, record: DeviceRecord, since: datetime, until: datetime) -> tuple[Span, ...]:
        changes = self.service.ledger.device_history(record.device.uuid, MOST_CHANGES)
        whole = len(changes) < MOST_CHANGES
        return spans(changes, record.state, since, until, whole=whole)

    def _days(self) -> int:
        days = self.get_query_argument("days", "1")
        if days not in map(str, PERIODS):
            raise BadRequest(_("Choose one of the periods that the page offers."))
        return int(days)

    def _number(self) -> int:
        text = self.get_query_argument("page", "1")
        if not (text.isascii() and text.isdigit() and 1 <= len(text) <= 4 and int(text)):
            raise BadRequest(_("There is no such page of devices."))
        return int(text)

    def _until(self) -> datetime | None:
        text = self.get_query_argument("until", "")
        return _within("until", text) if text else None

    def _after(self) -> tuple[datetime, str] | None:
        text = self.get_query_argument("after", "")
        if not text:
            return None
        at, _tilde, lease_id = text.rpartition("~")
        return _within("after", at), lease_id

    def _link(self, **changes: str | None) -> str:
        """This page with other arguments; None leaves one out."""
        query = {**dict(self._query()), **changes}
        return "?" + urlencode({name: value for name, value in query.items() if value})


def _within(name: str, text: str) -> datetime:
    """A time at which a period can end. Raises BadRequest."""
    found = moment(name, text)
    if not FIRST <= found <= LAST:
        raise BadRequest(_("{name} must be between 2000 and 9000.").format(name=name))
    return found


def _later(end: datetime, days: int, now: datetime) -> str | None:
    """The end of the next period; None: that of now."""
    later = end + timedelta(days)
    return later.isoformat() if later < now else None


def row(lease: Lease) -> dict[str, Any]:
    """A line of the table."""
    return {**lease_view(lease), "revocation": revocation_view(lease.revocation)}


ROUTES: list[tuple[str, type[PageHandler]]] = [(r"leases", LeasesPage)]
