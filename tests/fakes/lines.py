"""Snapshots for tests of placement and the queue: by hand, and at random."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from hub_ext.models import (
    Cordon,
    Device,
    DeviceRecord,
    DeviceState,
    Lease,
    LeaseState,
    Link,
    QueueEntry,
    Request,
    Snapshot,
)

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
GIB = 1 << 30


def device(uuid: str, name: str = "A100", gib: float = 80, **more: Any) -> Device:
    """A healthy device."""
    return Device(uuid, name, int(gib * GIB), **more)


def record(
    item: Device | str,
    *leases: str,
    state: DeviceState = DeviceState.HEALTHY,
    cordon: Cordon = Cordon.NONE,
) -> DeviceRecord:
    """A device in the ledger, held by these leases."""
    found = device(item) if isinstance(item, str) else item
    return DeviceRecord(found, state, NOW, lease_ids=leases, cordon=cordon)


def lease(
    lease_id: str,
    *uuids: str,
    user: str = "holder",
    ran: timedelta = 2 * HOUR,
    left: timedelta | None = HOUR,
    **more: Any,
) -> Lease:
    """One that runs since `ran`, and has `left` to go (None: without end)."""
    end = None if left is None else NOW + left
    begun = NOW - ran
    state = LeaseState.RUNNING
    return Lease(lease_id, user, "", state, uuids, begun, expires_at=end, **more)


def entry(
    number: int,
    gpus: int = 1,
    *,
    user: str = "",
    waited: timedelta = timedelta(0),
    term: timedelta | None = 8 * HOUR,
    waiter: str = "",
    **more: Any,
) -> QueueEntry:
    """The request of user `u<number>`, unless another is named."""
    request = Request(user or f"u{number}", str(number), gpus, term=term, **more)
    return QueueEntry(request, number, NOW - waited, waiter)


def snapshot(
    devices: Iterable[DeviceRecord],
    queue: Iterable[QueueEntry] = (),
    leases: Iterable[Lease] = (),
    **more: Any,
) -> Snapshot:
    """As it is at NOW."""
    return Snapshot(tuple(devices), tuple(queue), tuple(leases), **({"now": NOW} | more))


def linked(uuids: Sequence[str], links: Mapping[tuple[int, int], int], **more: Any) -> list[Device]:
    """Devices with these links between those of these numbers."""
    found = []
    for number, uuid in enumerate(uuids):
        ours = [
            (uuids[two if one == number else one], score)
            for (one, two), score in links.items()
            if number in (one, two)
        ]
        ours.sort(key=lambda link: (-link[1], link[0]))
        found.append(device(uuid, links=tuple(ours), **more))
    return found


def node(host: str, size: int = 8, score: int = Link.NVLINK, **more: Any) -> list[Device]:
    """A host's devices, each linked to each."""
    pairs = [(one, two) for one in range(size) for two in range(one)]
    uuids = [f"{host}-{number}" for number in range(size)]
    return linked(uuids, dict.fromkeys(pairs, int(score)), **more)


def crowd(devices: int, waiting: int, free: float, seed: int = 0) -> Snapshot:
    """A large site: 8-GPU hosts of four kinds, this part of the devices free, many who wait.

    Most ask for one device, some for up to eight; by model, by memory, or anything. One in ten has
    a second server in the line.
    """
    choose = random.Random(seed)  # noqa: S311 - the same site each time
    kinds = (("A100-80GB", 80), ("H100-80GB", 80), ("A100-40GB", 40), ("L40S", 48))
    records: list[DeviceRecord] = []
    leases: list[Lease] = []
    for number in range(devices // 8):
        name, gib = kinds[number % 4]
        score = Link.HOST_BRIDGE if name == "L40S" else Link.NVLINK + 11
        for item in node(f"GPU-{number:04x}", score=score, name=name, gib=gib):
            held: tuple[str, ...] = ()
            if choose.random() >= free:
                held = (f"lease-{len(leases)}",)
                ran, left = (timedelta(minutes=choose.randrange(480)) for _ in range(2))
                user = f"user-{choose.randrange(waiting):05}"
                leases.append(lease(held[0], item.uuid, user=user, ran=ran, left=left))
            records.append(record(item, *held))
    queue = []
    for number in range(waiting):
        user = f"user-{number if choose.random() < 0.9 else choose.randrange(waiting):05}"
        queue.append(
            entry(
                number,
                choose.choice((1, 1, 1, 1, 1, 2, 2, 4, 8)),
                user=user,
                waited=timedelta(seconds=waiting - number),
                term=choose.choice((1, 2, 4, 8, 8)) * HOUR,
                model=choose.choice(("", "", "a100", "h100")),
                min_memory_bytes=choose.choice((0, 0, 0, 40)) * GIB,
                priority=choose.choice((0, 0, 0, 5)),
                groups=("camp",),
            )
        )
    leases.sort(key=lambda each: (each.granted_at, each.id))  # as the ledger gives them
    usage = {f"user-{number:05}": choose.random() * 1e5 for number in range(waiting)}
    return snapshot(records, queue, leases, usage=usage, typical_lease=3 * HOUR)


def changed(seen: Snapshot, number: int) -> Snapshot:
    """The snapshot of a second later, for `number` 0, 1, ...: one left the line and another came;
    a lease ended, and its device went to somebody else. Like the ledger's, it has the very objects
    of the one before where nothing changed."""
    now = seen.now + timedelta(seconds=1)
    at = number * 377 % len(seen.queue)
    new = replace(entry(10**6 + number, groups=("camp",)), enqueued_at=now)
    queue = (*seen.queue[:at], *seen.queue[at + 1 :], new)
    if not seen.leases:
        return replace(seen, queue=queue, now=now)
    at = number * 37 % len(seen.leases)
    ended = seen.leases[at]
    begun = replace(
        ended, id=f"new-{number}", user=f"new-{number}", granted_at=now, expires_at=now + 8 * HOUR
    )
    leases = (*seen.leases[:at], *seen.leases[at + 1 :], begun)
    devices = tuple(
        [
            replace(each, lease_ids=(begun.id,)) if each.lease_ids == (ended.id,) else each
            for each in seen.devices
        ]
    )
    return replace(seen, devices=devices, queue=queue, leases=leases, now=now)
