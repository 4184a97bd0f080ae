"""What is free, by kind of device, while a decision gives it away piece by piece.

What this module guarantees: what was taken is not given again; which devices a request gets depends
on nothing but what is free; one `take` costs about the logarithm of the number of free devices
(after a first look at them), however many were taken before.

A lot is all devices of one kind: same name, memory, pool and mode, MIG or not. A request suits all
of a lot or nothing of it. Of the lots that suit it, it gets

- for one device: of a pool for some groups before one for all, which others need more; a MIG
  instance before a whole device, which a larger request needs more; where memory was asked for, the
  smallest that is enough; then the device whose loss hurts well-linked sets least; then of the kind
  with the fewest free, which keeps the larger one whole;
- for several: the best linked (see topology.py) of one lot, and among equals by the rules above.
  Only when no single lot is enough are those of one kind in several pools joined, and only when
  that is not enough are kinds mixed, as few as possible, since unequal devices slow each other;
- for slots of shared devices: the devices with the fewest sharers, because memory is not protected:
  the fewer share it, the more each has. To pack them would save nothing, since a shared device is
  never given as an exclusive one.
"""

from __future__ import annotations

import heapq
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter

from .buckets import Sorter
from .models import Device, DeviceRecord
from .policy import Policy
from .topology import Pattern, Rating, cells, pattern_of


@dataclass(frozen=True, slots=True)
class Spot:
    """A device with room for one more lease, and how many share it already."""

    device: Device
    sharers: int = 0


class Lot(ABC):
    """All devices in order of one kind; `room` of them can take one more lease now."""

    def __init__(self, device: Device, *, for_all: bool) -> None:
        self.device = device  # any of them: what they have in common counts
        self.for_all = for_all
        self.kind: Hashable = None
        self.records: Sequence[DeviceRecord] = ()
        self.spots: list[Spot] = []  # as they were before anything was taken
        self.room = 0

    def add(self, spot: Spot) -> None:
        """A device that can be taken. Only before the first `take`."""
        self.spots.append(spot)
        self.room += 1

    def preference(self, smallest: bool) -> tuple[bool, int]:
        """What distinguishes equally good devices of two lots; lower is taken first."""
        return (self.for_all, self.device.memory_bytes if smallest else 0)

    @abstractmethod
    def rank(self, count: int, smallest: bool) -> tuple[object, ...]:
        """How good a choice it is for `count` devices, of which it has room; lower is better."""

    @abstractmethod
    def take(self, count: int) -> tuple[str, ...]:
        """The best `count` devices, of which it has room; in order of UUID."""

    @abstractmethod
    def take_these(self, uuids: Iterable[str]) -> None:
        """Take named devices that have room."""

    @abstractmethod
    def left(self) -> list[Spot]:
        """What can still be taken, in order of UUID."""

    def take_all(self) -> list[Spot]:
        """One slot of each device that has room."""
        spots = self.left()
        self.take_these([spot.device.uuid for spot in spots])
        return spots

    def like(self, spots: Iterable[Spot]) -> Lot:
        """Another lot of the same kind, with only these."""
        other = type(self)(self.device, for_all=self.for_all)
        for spot in spots:
            other.add(spot)
        return other


@dataclass(slots=True)
class _Cell:
    members: list[Device]
    left: tuple[int, ...]  # places of those that are still there
    pattern: Pattern | None = None  # made when it is needed
    version: int = 0  # what is remembered of an earlier one no longer holds


class WholeLot(Lot):
    """Exclusive devices, in cells of those that are linked."""

    def __init__(self, device: Device, *, for_all: bool) -> None:
        super().__init__(device, for_all=for_all)
        self._cells: list[_Cell] | None = None
        # by number of devices: the best set of each cell that has as many, as far as still valid
        self._best: dict[int, list[tuple[Rating, str, int, int]]] = {}
        self._largest: list[tuple[int, str, int, int]] = []

    def rank(self, count: int, smallest: bool) -> tuple[object, ...]:
        best = self._best_cell(count)
        if best is None:  # spread over cells that are not linked
            worst, total, nodes, broken, first = 0, 0, count, 0, ""
        else:
            worst, total, nodes, broken, _places = best[0]
            first = best[1]
        links = (worst, total, nodes) if count > 1 else (0, 0, 0)
        mig = not self.device.is_mig if count == 1 else False
        for_all, memory = self.preference(smallest)
        return (best is None, *links, for_all, mig, memory, broken, self.room, first)

    def take(self, count: int) -> tuple[str, ...]:
        taken: list[str] = []
        while len(taken) < count:
            best = self._best_cell(count - len(taken))
            if best is not None:
                taken += self._take_of(best[3], best[0][4])
            else:
                number = self._largest_cell()
                taken += self._take_of(number, self._all_cells()[number].left)
        return tuple(sorted(taken))

    def take_these(self, uuids: Iterable[str]) -> None:
        gone = set(uuids)
        for number, cell in enumerate(self._all_cells()):
            places = tuple(place for place in cell.left if cell.members[place].uuid in gone)
            if places:
                self._take_of(number, places)

    def left(self) -> list[Spot]:
        members = [cell.members[place] for cell in self._all_cells() for place in cell.left]
        return [Spot(each) for each in sorted(members, key=_uuid)]

    def take_all(self) -> list[Spot]:
        spots = self.left()
        self._cells, self._best, self.room = [], {}, 0
        return spots

    def _all_cells(self) -> list[_Cell]:
        if self._cells is None:
            devices = sorted([spot.device for spot in self.spots], key=_uuid)
            self._cells = [_Cell(members, tuple(range(len(members)))) for members in cells(devices)]
            self._largest = [
                (-len(cell.members), cell.members[0].uuid, 0, number)
                for number, cell in enumerate(self._cells)
            ]
            heapq.heapify(self._largest)
        return self._cells

    def _best_cell(self, count: int) -> tuple[Rating, str, int, int] | None:
        all_cells = self._all_cells()
        heap = self._best.get(count)
        if heap is None:
            heap = [
                self._rated(number, count)
                for number, cell in enumerate(all_cells)
                if len(cell.left) >= count
            ]
            heapq.heapify(heap)
            self._best[count] = heap
        while heap and heap[0][2] != all_cells[heap[0][3]].version:
            heapq.heappop(heap)
        return heap[0] if heap else None

    def _largest_cell(self) -> int:
        heap, all_cells = self._largest, self._all_cells()
        while heap[0][2] != all_cells[heap[0][3]].version:
            heapq.heappop(heap)
        return heap[0][3]

    def _rated(self, number: int, count: int) -> tuple[Rating, str, int, int]:
        cell = self._all_cells()[number]
        if cell.pattern is None:
            cell.pattern = pattern_of(cell.members)
        rating = cell.pattern.best(cell.left, count)
        return (rating, cell.members[rating[4][0]].uuid, cell.version, number)

    def _take_of(self, number: int, places: Sequence[int]) -> list[str]:
        cell = self._all_cells()[number]
        cell.left = tuple([place for place in cell.left if place not in places])
        cell.version += 1
        self.room -= len(places)
        if size := len(cell.left):
            first = cell.members[cell.left[0]].uuid
            heapq.heappush(self._largest, (-size, first, cell.version, number))
            for count, heap in self._best.items():
                if count <= size:
                    heapq.heappush(heap, self._rated(number, count))
        return [cell.members[place].uuid for place in places]


class SlotLot(Lot):
    """Shared devices; each lease takes a slot."""

    def __init__(self, device: Device, *, for_all: bool) -> None:
        super().__init__(device, for_all=for_all)
        self._heap: list[tuple[int, str, Device]] | None = None

    def rank(self, count: int, smallest: bool) -> tuple[object, ...]:
        last = heapq.nsmallest(count, self._by_sharers())[-1]
        return (*last[:1], *self.preference(smallest), self.room, *last[1:2])

    def take(self, count: int) -> tuple[str, ...]:
        heap = self._by_sharers()
        taken = [heapq.heappop(heap) for _ in range(count)]
        self._put_back(taken)
        return tuple(sorted(uuid for _sharers, uuid, _device in taken))

    def take_these(self, uuids: Iterable[str]) -> None:
        gone, heap = set(uuids), self._by_sharers()
        taken = [each for each in heap if each[1] in gone]
        self._heap = [each for each in heap if each[1] not in gone]
        heapq.heapify(self._heap)
        self._put_back(taken)

    def left(self) -> list[Spot]:
        spots = [Spot(device, sharers) for sharers, _uuid, device in self._by_sharers()]
        return sorted(spots, key=lambda spot: spot.device.uuid)

    def _by_sharers(self) -> list[tuple[int, str, Device]]:
        if self._heap is None:
            self._heap = [(spot.sharers, spot.device.uuid, spot.device) for spot in self.spots]
            heapq.heapify(self._heap)
        return self._heap

    def _put_back(self, taken: Iterable[tuple[int, str, Device]]) -> None:
        heap = self._by_sharers()
        for sharers, uuid, device in taken:
            if sharers + 1 < device.slots:
                heapq.heappush(heap, (sharers + 1, uuid, device))
        self.room = len(heap)


def lots_of(records: Iterable[DeviceRecord], policy: Policy) -> list[Lot]:
    """The lots of the devices in order (healthy, and not cordoned)."""
    in_order, with_room, _by_uuid = _devices.sort(tuple(records)).by
    lots: list[Lot] = []
    for kind, members in sorted(in_order.all.items()):
        device = members[0].device
        pool = policy.pool(device.pool)
        lot = (SlotLot if device.shared else WholeLot)(
            device, for_all=pool is None or not pool.groups
        )
        lot.kind, lot.records = kind, members
        for record in with_room.all.get(kind, ()):
            lot.add(Spot(record.device, len(record.lease_ids)))
        lots.append(lot)
    return lots


def lot_finder(records: Iterable[DeviceRecord], lots: Iterable[Lot]) -> Callable[[str], Lot | None]:
    """What tells the lot of a device in order by its UUID. `lots` are those of the records."""
    by_uuid = _devices.sort(tuple(records)).by[2].all
    by_kind = {lot.kind: lot for lot in lots}

    def find(uuid: str) -> Lot | None:
        return by_kind.get(_kind(by_uuid[uuid][0])) if uuid in by_uuid else None

    return find


def _kind(record: DeviceRecord) -> Hashable | None:
    """Of a device in order; None: it is not."""
    if not record.accepts:
        return None
    device = record.device
    mode = (device.shared, device.slots if device.shared else 1)
    return (device.name, device.memory_bytes, device.pool, mode, device.is_mig)


def _kind_with_room(record: DeviceRecord) -> Hashable | None:
    """Of a device in order that can take one more lease."""
    if record.lease_ids and (
        not record.device.shared or len(record.lease_ids) >= record.device.slots
    ):
        return None
    return _kind(record)


_place = attrgetter("device.uuid")
_devices = Sorter[DeviceRecord](_place, _kind, _kind_with_room, _place)


def take(lots: Sequence[Lot], count: int, *, smallest: bool = False) -> tuple[str, ...] | None:
    """Take the best `count` devices of these lots; None, and nothing taken, if there are too few.

    `smallest`: a device with little memory is better than one with much.
    """
    if count > sum(lot.room for lot in lots):
        return None
    if not count:
        return ()
    fitting = [lot for lot in lots if lot.room >= count]
    if len(fitting) == 1:
        return fitting[0].take(count)
    if fitting:
        return min(fitting, key=lambda lot: lot.rank(count, smallest)).take(count)
    return tuple(sorted(_take_of_several(lots, count, smallest)))


def _take_of_several(lots: Sequence[Lot], count: int, smallest: bool) -> list[str]:
    kinds: dict[tuple[str, int], list[Lot]] = {}
    for lot in lots:
        if lot.room:
            kinds.setdefault((lot.device.name, lot.device.memory_bytes), []).append(lot)
    by_room = sorted(kinds.items(), key=lambda kind: (_room(kind[1]), kind[0]))
    enough = [kind for kind in by_room if _room(kind[1]) >= count]
    if enough:
        _kind, pools = enough[0]
        joined = pools[0].like(spot for lot in pools for spot in lot.left())
        taken = joined.take(count)
        for lot in pools:
            here = {spot.device.uuid for spot in lot.left()}
            lot.take_these([uuid for uuid in taken if uuid in here])
        return list(taken)
    _kind, largest = by_room[-1]
    whole = [spot.device.uuid for lot in largest for spot in lot.take_all()]
    others = [lot for _kind, pools in by_room[:-1] for lot in pools]
    return whole + list(take(others, count - len(whole), smallest=smallest) or ())


def _room(lots: Iterable[Lot]) -> int:
    return sum(lot.room for lot in lots)


def _uuid(device: Device) -> str:
    return device.uuid
