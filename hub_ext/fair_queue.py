"""Who waits, in which order, whose turn it is, and when it will be.

What this module guarantees: the order is that of arrival. A request is granted devices only when
none before it could use them, so a large request is never overtaken for ever by small ones. Two
kinds do not stand in the way: a request without GPUs takes nothing, so it never waits; a request
for more devices than are in order now cannot be granted, so the line passes it until they return.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from .models import Key, QueueEntry, Request, Snapshot
from .placement import choose, suits, usable_count


@dataclass(frozen=True, slots=True)
class Eta:
    """When a request is expected to be served.

    `at` None is unknown. `basis` is "deadline" if a lease ends then at the latest, "history" if it
    ends then should it last as long as leases usually do, "" if it is unknown or now.
    """

    at: datetime | None = None
    basis: str = ""


@dataclass(frozen=True, slots=True)
class Place:
    """A request's place in the line; `position` 1 is the next to be served."""

    entry: QueueEntry
    position: int
    eta: Eta = Eta()


@dataclass(frozen=True, slots=True)
class Reservation:
    """Devices set aside for a request that waits for more; expected to be complete at `at`."""

    device_uuids: tuple[str, ...]
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """What each request, by (user, server), is granted now, and what is reserved for it."""

    grants: Mapping[Key, tuple[str, ...]]
    reservations: Mapping[Key, Reservation]


def decide(snapshot: Snapshot) -> Decision:
    """Who gets which devices now. Pure, and the same for every caller of one snapshot."""
    grants: dict[Key, tuple[str, ...]] = {}
    reservations: dict[Key, Reservation] = {}
    devices = {each.device.uuid: each for each in snapshot.devices}
    for place in line_up(snapshot):
        request = place.entry.request
        chosen = choose(devices.values(), request, snapshot.policy)
        if chosen is not None:
            grants[_key(request)] = chosen
            for uuid in chosen:
                record = devices[uuid]
                devices[uuid] = replace(record, lease_ids=(*record.lease_ids, "granted"))
        elif usable_count(devices.values(), request, snapshot.policy) >= request.gpus:
            free = tuple(
                uuid
                for uuid, each in devices.items()
                if each.is_free and suits(each.device, request, snapshot.policy)
            )
            reservations[_key(request)] = Reservation(free)
            for uuid in free:
                del devices[uuid]
    return Decision(grants, reservations)


def grant(snapshot: Snapshot, request: Request) -> tuple[str, ...] | None:
    """The devices that this request gets now, or None if it must wait (for `Ledger.acquire`)."""
    if request.gpus == 0:
        return ()
    return decide(snapshot).grants.get(_key(request))


def line_up(snapshot: Snapshot) -> tuple[Place, ...]:
    """The requests that wait for devices, first to be served first."""

    def key(entry: QueueEntry) -> tuple[bool, int]:
        usable = usable_count(snapshot.devices, entry.request, snapshot.policy)
        return (entry.request.gpus > usable, entry.sequence)

    order = sorted((entry for entry in snapshot.queue if entry.request.gpus > 0), key=key)
    return tuple(Place(entry, position) for position, entry in enumerate(order, start=1))


def place_of(snapshot: Snapshot, request: Request) -> Place | None:
    """Where this server's request stands, or None if it does not wait."""
    for place in line_up(snapshot):
        if _key(place.entry.request) == _key(request):
            return place
    return None


def _key(request: Request) -> Key:
    return (request.user, request.server)
