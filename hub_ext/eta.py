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
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import repeat

from .models import Snapshot
from .queue_order import ROUNDING, devices_of, slots_of
from .stock import Lot

NEVER = datetime.max.replace(tzinfo=UTC)  # inside this module and its callers: unknown


@dataclass(frozen=True, slots=True)
class Eta:
    """When a request is expected to be served.

    `at` None is unknown. `basis` is "deadline" if a lease ends then at the latest, "history" if it
    ends then should it last as long as leases usually do, "" if it is unknown or now.
    """

    at: datetime | None = None
    basis: str = ""


Moment = tuple[datetime, str]  # and its basis
_Opening = tuple[datetime, str, str]  # a device is free from then on; basis, UUID
_UNKNOWN: Moment = (NEVER, "")


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


def expected_end(
    start: datetime, deadline: datetime | None, now: datetime, typical: timedelta | None
) -> Moment:
    """When a lease is expected to end: NEVER if nothing is known."""
    if typical is not None:
        usual = start + typical
        if usual > now and (deadline is None or usual < deadline):
            return (usual, "history")
    if deadline is None:
        return _UNKNOWN
    return (deadline if deadline > now else now, "deadline")


class Forecast:
    """When each device (or slot) will be free, while requests lay claim to them one by one.

    `also_free`: devices that nobody has are free now; else they belong to no one here until they
    are granted or claimed.
    """

    def __init__(self, snapshot: Snapshot, *, also_free: bool) -> None:
        self._now = snapshot.now
        self._typical = snapshot.typical_lease
        self._leases = snapshot.leases
        self._also_free = also_free
        self._ends: dict[str, Moment] | None = None
        self._granted: dict[str, list[Moment]] = {}
        self._heaps: dict[int, list[_Opening]] = {}
        self._heap_of: dict[str, list[_Opening]] = {}

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
            if uuid in self._heap_of:
                heapq.heappush(self._heap_of[uuid], (*until, uuid))

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
        heaps = [self._heap(lot) for lot in lots]
        chosen = dict.fromkeys(has)
        at = earliest or (self._now, "")
        again = []  # openings on a device that it has already: slots
        while len(chosen) < count:
            heap = min((each for each in heaps if each), key=_first)
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
            heapq.heappush(self._heap_of[uuid], (*end, uuid))
        return Claim(tuple(chosen), at, end)

    def _heap(self, lot: Lot) -> list[_Opening]:
        heap = self._heaps.get(id(lot))
        if heap is None:
            if self._ends is None:
                now, typical = self._now, self._typical
                self._ends = {
                    each.id: expected_end(each.granted_at, each.expires_at, now, typical)
                    for each in self._leases
                }
            ends, granted = self._ends, self._granted
            uuids = [record.device.uuid for record in lot.records]
            heap = [
                (*ends.get(name, _UNKNOWN), uuid)
                for uuid, record in zip(uuids, lot.records, strict=True)
                for name in record.lease_ids
            ]
            heap += [(*until, uuid) for uuid in uuids if uuid in granted for until in granted[uuid]]
            if self._also_free:
                heap += self._free(lot)
            heapq.heapify(heap)
            self._heaps[id(lot)] = heap
            self._heap_of.update(dict.fromkeys(uuids, heap))
        return heap

    def _free(self, lot: Lot) -> Iterator[_Opening]:
        for record in lot.records:
            uuid = record.device.uuid
            slots = record.device.slots if record.device.shared else 1
            taken = len(record.lease_ids) + len(self._granted.get(uuid, ()))
            yield from repeat((self._now, "", uuid), slots - taken)


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
