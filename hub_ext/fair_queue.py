"""Who waits, in which order, and whose turn it is.

What this module guarantees: the order is that of arrival. A request is granted devices only when it
is the first that waits, so a large request is never overtaken for ever by small ones. Two kinds do
not stand in the way: a request without GPUs takes nothing, so it never waits; a request for more
devices than are in order now cannot be granted, so the line passes it until they return.

`line_up` is the one place that orders.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .models import DeviceRecord, QueueEntry, Request, Snapshot
from .placement import choose, usable_count


@dataclass(frozen=True, slots=True)
class Place:
    """A request's place in the line; `position` 1 is the next to be served."""

    entry: QueueEntry
    position: int


def line_up(queue: Sequence[QueueEntry], devices: Sequence[DeviceRecord]) -> tuple[Place, ...]:
    """The requests that wait for devices, first to be served first."""
    usable = usable_count(devices)
    waiting = [entry for entry in queue if entry.request.gpus > 0]
    order = sorted(waiting, key=lambda entry: (entry.request.gpus > usable, entry.sequence))
    return tuple(Place(entry, position) for position, entry in enumerate(order, start=1))


def place_of(snapshot: Snapshot, request: Request) -> Place | None:
    """Where this server's request stands, or None if it does not wait."""
    for place in line_up(snapshot.queue, snapshot.devices):
        other = place.entry.request
        if (other.user, other.server) == (request.user, request.server):
            return place
    return None


def grant(snapshot: Snapshot, request: Request) -> tuple[str, ...] | None:
    """The devices that this request gets now, or None if it must wait (for `Ledger.acquire`)."""
    if request.gpus == 0:
        return ()
    place = place_of(snapshot, request)
    if place is None or place.position > 1:
        return None
    return choose(snapshot.devices, request.gpus)
