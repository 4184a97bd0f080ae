"""When devices become free, as far as one can say. Pure.

What this is: a forecast, not a promise. It supposes that each lease ends at its deadline, or
earlier, when it has lasted as long as leases usually do (Snapshot.typical_lease), if that is still
ahead; that requests are served in the order of now; and that each of them then keeps its devices
for as long. So it moves when somebody stops early, when somebody with a better place comes, or when
a device breaks. Deadlines bind while somebody waits (terms.py extends nothing then), so a time on
the basis of deadlines alone is the latest, as long as nobody goes first.

What this module guarantees: no time is earlier than now, nor than the devices needed can be free by
what is supposed; a time is unknown (None) exactly when a lease that must end first, or a request
that must be served first, has neither deadline nor history.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import repeat

from .lease_ends import NEVER, UNKNOWN, Moment, expected_end, in_order_of_end
from .models import Lease, Snapshot
from .queue_order import ROUNDING, devices_of, slots_of
from .stock import Lot, lot_finder


@dataclass(frozen=True, slots=True)
class Eta:
    """When a request is expected to be served.

    `at` None is unknown. `basis` is "deadline" if a lease ends then at the latest, "history" if it
    ends then should it last as long as leases usually do, "" if it is unknown or now.
    """

    at: datetime | None = None
    basis: str = ""


_Opening = tuple[datetime, str, str]  # a device is free from then on; basis, UUID


@dataclass(frozen=True, slots=True)
class Claim:
    """What a request will have, from when until when."""

    device_uuids: tuple[str, ...]
    at: Moment
    end: Moment


def known(moment: Moment) -> Eta:
    """A moment for others to read."""
    at, basis = moment
    return Eta(at, basis) if at < NEVER else Eta()


class Forecast:
    """When each device (or slot) will be free, while requests lay claim to them one by one.

    `also_free`: devices that nobody has are free now; else they belong to no one here until they
    are granted or claimed.
    """

    def __init__(self, snapshot: Snapshot, lots: Sequence[Lot], *, also_free: bool) -> None:
        self._now = snapshot.now
        self._typical = snapshot.typical_lease
        self._lots = lots
        self._also_free = also_free
        self._granted: dict[str, list[Moment]] = {}
        # ends of leases go to the heap of their device's lot when they may be the next there
        self._ends = in_order_of_end(snapshot)
        self._next_end: tuple[Moment, Lease] | None = None
        self._ended: set[tuple[str, str]] = set()  # leases, and their devices
        self._heaps: dict[int, list[_Opening]] = {}  # by lot; none before the first claim
        self._lot_of = lot_finder(snapshot.devices, lots)

    def end_of(self, start: Moment, term: timedelta | None) -> Moment:
        """When a lease of this term is expected to end that begins at `start`."""
        at, basis = start
        if at >= NEVER:
            return start
        end = expected_end(at, None if term is None else at + term, self._now, self._typical)
        return (end[0], "history") if basis == "history" and end[0] < NEVER else end

    def grant(self, uuids: Iterable[str], term: timedelta | None) -> None:
        """Devices that were free are leased now."""
        until = self.end_of((self._now, ""), term)
        for uuid in uuids:
            self._granted.setdefault(uuid, []).append(until)
            heap = self._heap_of(uuid)
            if heap is not None:
                heapq.heappush(heap, (*until, uuid))

    def claim(
        self,
        lots: Sequence[Lot],
        count: int,
        term: timedelta | None,
        *,
        has: Sequence[str] = (),
        earliest: Moment | None = None,
    ) -> Claim:
        """The devices of these lots that a request will have next, and from when on.

        It needs `count`, all different, and `has` some of them already. It does not begin before
        `earliest`. There must be enough devices.
        """
        if not self._heaps:
            self._fill_heaps()
        heaps = [self._heaps[id(lot)] for lot in lots]
        chosen = dict.fromkeys(has)
        at = earliest or (self._now, "")
        again = []  # openings on a device that it has already: slots
        while len(chosen) < count:
            heap = self._next_of(heaps)
            opening = heapq.heappop(heap)
            if opening[2] in chosen:
                again.append((heap, opening))
                continue
            chosen[opening[2]] = None
            at = max(at, opening[:2])
        for heap, opening in again:
            heapq.heappush(heap, opening)
        end = self.end_of(at, term)
        for uuid in chosen:
            its = self._heap_of(uuid)
            assert its is not None  # noqa: S101  (it came from one)
            heapq.heappush(its, (*end, uuid))
        return Claim(tuple(chosen), at, end)

    def _heap_of(self, uuid: str) -> list[_Opening] | None:
        """Of a device in order, once there are any."""
        lot = self._lot_of(uuid) if self._heaps else None
        return None if lot is None else self._heaps[id(lot)]

    def _fill_heaps(self) -> None:
        """With all but the ends of leases."""
        granted, now = self._granted, self._now
        heaps = self._heaps = {id(lot): [] for lot in self._lots}
        for uuid, untils in granted.items():
            heap = self._heap_of(uuid)
            if heap is not None:
                heap += [(*until, uuid) for until in untils]
        for lot in self._lots if self._also_free else ():
            for spot in lot.spots:
                uuid = spot.device.uuid
                slots = spot.device.slots if spot.device.shared else 1
                left = slots - spot.sharers - len(granted.get(uuid, ()))
                heaps[id(lot)] += repeat((now, "", uuid), left)
        for heap in heaps.values():
            heapq.heapify(heap)
        self._advance()

    def _next_of(self, heaps: Sequence[list[_Opening]]) -> list[_Opening]:
        """The one of these heaps that has the first opening."""
        first = min(filter(None, heaps), key=_first, default=None)
        while self._next_end is not None and (first is None or self._next_end[0] <= first[0][:2]):
            until, lease = self._next_end
            for uuid in lease.device_uuids:
                heap = self._heap_of(uuid)
                if heap is not None:
                    self._ended.add((lease.id, uuid))
                    heapq.heappush(heap, (*until, uuid))
            self._advance()
            first = min(filter(None, heaps), key=_first, default=None)
        assert first is not None  # noqa: S101  (there are enough devices)
        return first

    def _advance(self) -> None:
        """To the next lease's end; after the last, the others' ends are unknown."""
        self._next_end = next(self._ends, None)
        if self._next_end is not None:
            return
        for lot in self._lots:
            for record in lot.records:
                uuid = record.device.uuid
                for name in record.lease_ids:
                    if (name, uuid) not in self._ended:
                        heapq.heappush(self._heaps[id(lot)], (*UNKNOWN, uuid))


def _first(heap: list[_Opening]) -> _Opening:
    return heap[0]


class GroupRoom:
    """When the limits of groups leave room, while requests lay claim to it in order."""

    def __init__(self, snapshot: Snapshot, use: Mapping[str, float]) -> None:
        limits = snapshot.policy.group_limits
        self._left = {name: (limits[name].max_devices or 0) - used for name, used in use.items()}
        self._ends: dict[str, list[tuple[datetime, str, float]]] = {name: [] for name in use}
        if use:
            slots = slots_of(snapshot)
            for lease in snapshot.leases:
                end = expected_end(
                    lease.granted_at, lease.expires_at, snapshot.now, snapshot.typical_lease
                )
                self.end(lease.groups, devices_of(lease, slots), end)

    def claim(self, groups: Iterable[str], cost: float, now: datetime) -> Moment:
        """When there is room for so much more in all of them; it is taken."""
        at: Moment = (now, "")
        for name in groups:
            ends = self._ends[name]
            while self._left[name] + ROUNDING < cost and ends:
                ended, basis, freed = heapq.heappop(ends)
                self._left[name] += freed
                at = max(at, (ended, basis))
            self._left[name] -= cost
        return at

    def end(self, groups: Iterable[str], cost: float, end: Moment) -> None:
        """What was taken is free again then."""
        for name in groups:
            if name in self._ends:
                heapq.heappush(self._ends[name], (*end, cost))
