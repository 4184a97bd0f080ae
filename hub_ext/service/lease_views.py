"""What the service tells about a server's lease: its term, the line, notices and quota.

Guarantees: JSON-ready values; times are ISO 8601 with their zone; whoever reads a server's view
learns of others only how many wait.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from ..errors import GpucampError
from ..fair_queue import Place, line_up
from ..ledger import Ledger
from ..models import (
    EPOCH,
    Cordon,
    Device,
    DeviceRecord,
    DeviceState,
    Lease,
    Notice,
    QueueEntry,
    QueueMove,
    Revocation,
    Snapshot,
)
from ..usage import QuotaUse, day_start, quota_use
from .device_reasons import device_reason
from .extension import extension_of
from .wording import notice_text

if TYPE_CHECKING:
    from .parts import Service

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class LeaseFacts:
    """What the ledger says of a server, read for one answer."""

    snapshot: Snapshot
    lease: Lease | None
    entry: QueueEntry | None
    notices: tuple[Notice, ...]
    groups: tuple[str, ...] | None  # of its user; None: nobody could say
    use: QuotaUse
    seconds_today: float  # device-seconds of its user since midnight UTC
    seconds: float  # since Policy.event_start

    @property
    def devices(self) -> dict[str, DeviceRecord]:
        """By UUID."""
        return {record.device.uuid: record for record in self.snapshot.devices}


async def lease_facts(service: Service, user: str, server: str) -> LeaseFacts:
    """Read them. Raises LedgerUnavailable."""
    ledger, now = service.ledger, service.now()
    snapshot, notices = await asyncio.to_thread(
        lambda: (ledger.snapshot(now), ledger.notices(user, server))
    )
    key = (user, server)
    lease = next((each for each in snapshot.leases if (each.user, each.server) == key), None)
    entry = next(
        (each for each in snapshot.queue if (each.request.user, each.request.server) == key), None
    )
    groups: tuple[str, ...] | None
    if lease is not None:
        groups = lease.groups
    elif entry is not None:
        groups = entry.request.groups
    else:
        try:
            groups = (await service.hub.user(user)).groups
        except GpucampError:
            groups = None
    since = snapshot.policy.event_start or EPOCH
    use, today, all_in_all = await asyncio.to_thread(
        lambda: (
            use_of(ledger, snapshot, {user: groups or ()}),
            ledger.device_seconds(user, day_start(now), now),
            ledger.device_seconds(user, since, now),
        )
    )
    return LeaseFacts(snapshot, lease, entry, notices, groups, use, today, all_in_all)


def use_of(ledger: Ledger, snapshot: Snapshot, people: dict[str, Collection[str]]) -> QuotaUse:
    """What people (user -> groups) have used, as far as a quota asks. Raises LedgerUnavailable."""
    return quota_use(
        snapshot.policy,
        people,
        snapshot.leases,
        snapshot.devices,
        snapshot.now,
        device_seconds=ledger.device_seconds_of,
        group_device_seconds=ledger.group_device_seconds,
    )


def term_views(facts: LeaseFacts, user: str) -> Json:
    """The parts of a server's view that are about its lease."""
    policy = facts.snapshot.policy
    return {
        "lease": _lease(facts) if facts.lease is not None else None,
        "queue": _place(facts.snapshot, facts.entry) if facts.entry is not None else None,
        "notices": [notice_view(notice) for notice in facts.notices],
        "quota": _quota(facts, user, facts.groups) if facts.groups is not None else None,
        "warn_minutes": [each.total_seconds() / 60 for each in policy.warnings],
    }


def _lease(facts: LeaseFacts) -> Json:
    lease, known = facts.lease, facts.devices
    assert lease is not None  # noqa: S101 - the caller looked
    extension = extension_of(lease, facts.snapshot, facts.use)
    return {
        "id": lease.id,
        "state": lease.state.value,
        "granted_at": lease.granted_at.isoformat(),
        "expires_at": iso(lease.expires_at),
        "extensions": lease.extensions,
        "can_extend": extension.until is not None,
        "extend_until": iso(extension.until),
        "extend_refusal": extension.refusal or None,
        "shared": lease.shared,
        "idle_since": iso(lease.idle_since),
        "reclaim_at": iso(lease.reclaim_at),
        "revocation": revocation_view(lease.revocation),
        "devices": [_leased_device(uuid, known.get(uuid)) for uuid in lease.device_uuids],
    }


def revocation_view(said: Revocation | None) -> Json | None:
    """That a lease ends, when, and why; None if nobody said so."""
    if said is None:
        return None
    return {
        "at": said.at.isoformat(),
        "until": said.until.isoformat(),
        "by": said.by,
        "reason": said.reason,
    }


def _leased_device(uuid: str, record: DeviceRecord | None) -> Json:
    device = record.device if record is not None else Device(uuid, uuid, 0)
    return {
        "uuid": uuid,
        "name": device.name,
        "simulated": device.simulated,
        "mig": device.is_mig,
        "state": (record.state if record is not None else DeviceState.MISSING).value,
        "reason": device_reason(record.reason) if record is not None else "",
        "cordon": (record.cordon if record is not None else Cordon.NONE).value,
    }


def _place(snapshot: Snapshot, entry: QueueEntry) -> Json:
    line = line_up(snapshot)
    place = next((each for each in line if each.entry.sequence == entry.sequence), None)
    return place_view(place, len(line), entry)


def place_view(place: Place | None, length: int, entry: QueueEntry) -> Json:
    """A place in the line; `place` None: those who order it pass it over."""
    return {
        "position": place.position if place is not None else None,
        "length": max(length, 1),
        "eta": iso(place.eta.at) if place is not None else None,
        "eta_basis": place.eta.basis if place is not None else "",
        "gpus": entry.request.gpus,
        "since": entry.enqueued_at.isoformat(),
        "move": _move(entry.move),
    }


def _move(move: QueueMove | None) -> Json | None:
    """Who gave it its place in the line, and why."""
    if move is None:
        return None
    return {"at": move.at.isoformat(), "by": move.by, "reason": move.reason}


def notice_view(notice: Notice) -> Json:
    """A notice in the reader's language."""
    return {
        "id": notice.id,
        "at": notice.at.isoformat(),
        "kind": notice.kind.value,
        "text": notice_text(notice.kind, notice.detail),
    }


def _quota(facts: LeaseFacts, user: str, groups: Collection[str]) -> Json:
    rule = facts.snapshot.policy.rule_for(groups)
    mine = [lease for lease in facts.snapshot.leases if lease.user == user]
    return {
        "devices": share(sum(len(lease.device_uuids) for lease in mine), rule.max_devices),
        "servers": share(len(mine), rule.max_servers),
        "hours_today": hours(facts.seconds_today, rule.device_hours_per_day),
        "hours": hours(facts.seconds, rule.device_hours),
    }


def share(used: float, limit: float | None) -> Json:
    """What is used of a limit; None: there is none."""
    return {"used": used, "limit": None if limit is None or math.isinf(limit) else limit}


def hours(seconds: float, limit: float | None) -> Json:
    """The same in hours, of seconds."""
    return share(round(seconds / 3600, 3), limit)


def iso(moment: datetime | None) -> str | None:
    """A time as JSON has it."""
    return moment.isoformat() if moment is not None else None
