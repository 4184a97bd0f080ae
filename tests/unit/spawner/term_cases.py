"""Leases, devices and a line for tests of terms, and what a look at them decides."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hub_ext.models import (
    Cordon,
    Device,
    DeviceRecord,
    DeviceState,
    Lease,
    LeaseState,
    NoticeKind,
    QueueEntry,
    Request,
)
from hub_ext.policy import Policy
from hub_ext.terms import (
    StopServer,
    Watch,
    review,
)

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
LONG = Watch(NOW - 10 * HOUR, NOW)  # looking for long
IDLE = Policy(idle_after=20 * MINUTE)
EXPIRED, RECLAIMED = NoticeKind.LEASE_EXPIRED, NoticeKind.LEASE_RECLAIMED
REVOKED = NoticeKind.STOPPED_AS_REVOKED


def lease(name: str = "a", *, uuids: tuple[str, ...] | None = None, **what) -> Lease:
    return Lease(
        f"l-{name}", f"user-{name}", "", what.pop("state", LeaseState.RUNNING),
        uuids or (f"GPU-{name}",), NOW - 5 * HOUR, **what,
    )  # fmt: skip


def devices(leases, *free: str, draining=()) -> list[DeviceRecord]:
    uuids = sorted({*free, *(uuid for each in leases for uuid in each.device_uuids)})
    return [
        DeviceRecord(
            Device(uuid, "", 1),
            DeviceState.HEALTHY,
            NOW,
            lease_ids=tuple(each.id for each in leases if uuid in each.device_uuids),
            cordon=Cordon.DRAINING if uuid in draining else Cordon.NONE,
        )
        for uuid in uuids
    ]


def doing_nothing(leases, **what) -> dict[str, Device]:
    facts = {"compute_processes": 0, "utilization_percent": 0} | what
    return {uuid: Device(uuid, "", 1, **facts) for each in leases for uuid in each.device_uuids}


def waiting(*gpus: int) -> list[QueueEntry]:
    return [
        QueueEntry(Request(f"waits-{number}", "", count), number, NOW)
        for number, count in enumerate(gpus)
    ]


def at(leases, wait=(), policy=IDLE, now=NOW, *, seen=None, records=None, **rest):
    rest.setdefault("watch", LONG)
    seen = {} if seen is None else seen
    return review(leases, seen, wait, records or devices(leases), policy, now, **rest)


def stop(each: Lease, kind=EXPIRED) -> StopServer:
    return StopServer(each.id, each.user, each.server, kind)
