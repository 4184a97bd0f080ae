"""Whose turn it is, who gets which devices, and when the others can expect theirs. Pure.

`decide` goes through those who wait, in the order of queue_order.py. Each is granted what it asks
for, if that is free and not set aside. If not, what is free for it is set aside, and the devices
that will be free next complete the reservation; so it builds up until it is granted. Whoever comes
later may use what is set aside only if its term is over by the time the reservation is expected to
be complete (backfill).

What this module guarantees:

1. It grants only what is free; no device (no slot) twice; shared and exclusive are never mixed.
2. The same snapshot gives the same decision.
3. Nobody is overtaken for ever. At the latest when a request has waited for (11 - priority) times
   Policy.aging, only those that came earlier are before it, or whom an admin put there, and all
   that becomes free and suits it is theirs or its own.
4. Backfill never delays a reservation beyond its `at`: what it takes comes back by its deadline.
5. Those who wait for one kind of device do not keep others from another kind.
6. The limits of groups hold. A request that its group's limit stops now keeps later ones of the
   same group from passing it, and what is reserved counts as had.
7. A request without GPUs never waits. One for more than is in order (or its group may ever have)
   is passed over until that changes.
8. An orphan (its hub process ended while it waited) keeps its place, and what it would be granted,
   for ORPHAN_PATIENCE; then it is ignored.

Only the first request of each shape has a reservation, and only if something is free for it; when
it is served, the next one gets it.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from .eta import Eta, Forecast, GroupRoom, known
from .lease_ends import NEVER, Moment
from .models import Key, QueueEntry, Request, Snapshot
from .queue_order import ROUNDING, Order, Shape, Turns, group_use, is_orphan
from .stock import Lot, Spot, lots_of, take

FORESEEN = 200  # places in the line for which a time is worked out


@dataclass(frozen=True, slots=True)
class Place:
    """A request's place in the line; `position` 1 is the next to be served."""

    entry: QueueEntry
    position: int
    eta: Eta = Eta()
    can_be_served: bool = True  # some day, with the devices and limits of now


@dataclass(frozen=True, slots=True)
class Reservation:
    """The devices that a request will have: first those that are free now and set aside for it.

    They are expected to be complete at `at` (None: unknown).
    """

    device_uuids: tuple[str, ...]
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """What each request, by (user, server), is granted now, and what is reserved for it."""

    grants: Mapping[Key, tuple[str, ...]]
    reservations: Mapping[Key, Reservation]


def decide(snapshot: Snapshot) -> Decision:
    """Who gets which devices now."""
    return _decided(snapshot)[0]


def grant(snapshot: Snapshot, request: Request) -> tuple[str, ...] | None:
    """The devices that this request gets now, or None if it must wait (for `Ledger.acquire`).

    A request that is not in the queue waits, unless it is for no GPU.
    """
    if request.gpus == 0:
        return ()
    return decide(snapshot).grants.get(_key(request))


def line_up(snapshot: Snapshot) -> tuple[Place, ...]:
    """The requests that wait for devices, first to be served first.

    Those that cannot be served at present come last, with an unknown time; so have those beyond
    the first FORESEEN.
    """
    return _line(snapshot)[0]


def place_of(snapshot: Snapshot, request: Request) -> Place | None:
    """Where this server's request stands, or None if it does not wait."""
    return _line(snapshot)[1].get(_key(request))


def _key(request: Request) -> Key:
    return (request.user, request.server)


def _decided(snapshot: Snapshot) -> tuple[Decision, Order | None]:
    known_one: tuple[Decision, Order | None] | None = snapshot.derived.get("decision")
    if known_one is None:
        lots = lots_of(snapshot.devices, snapshot.policy)
        if any(lot.room for lot in lots):
            order = Order(snapshot, lots)
            known_one = (_Round(snapshot, order).decision(), order)
        else:
            known_one = (Decision({}, {}), None)
        snapshot.derived["decision"] = known_one
    return known_one


@dataclass(slots=True)
class _Line:
    """Those of one shape, while a round goes on."""

    shape: Shape
    turns: Turns
    failed: bool = False  # one of them could not be served; so can no other, but by backfill
    reserved: bool = False


class _Round:
    """One walk through the line."""

    def __init__(self, snapshot: Snapshot, order: Order) -> None:
        self._snapshot = snapshot
        self._now = snapshot.now
        self._lines = [
            _Line(shape, order.turns(shape)) for shape in order.shapes if not shape.passed
        ]
        self._forecast = Forecast(snapshot, order.lots, also_free=False)
        self._limits = snapshot.policy.group_limits
        self._use = group_use(snapshot)
        self._full: set[str] = set()  # groups whose limit somebody waits for
        self._grants: dict[Key, tuple[str, ...]] = {}
        self._reservations: dict[Key, Reservation] = {}
        # who gets nothing now, but devices that are free before those behind them get theirs
        self._claims: list[tuple[QueueEntry, Shape]] = []
        # by lot, the free devices that are set aside and until when others may use them
        self._aside: dict[int, list[tuple[datetime, Spot]]] = {}
        # by lots, what is usable of them until something is given or set aside
        self._usable_now: dict[tuple[int, ...], dict[str, tuple[datetime, Spot, Lot]]] = {}

    def decision(self) -> Decision:
        heads = [(turn, line) for line in self._lines if (turn := line.turns.pop()) is not None]
        heapq.heapify(heads)  # no two turns are equal
        while heads:
            (*_rank, entry), line = heads[0]
            may_go_on = self._serve(entry, line)
            turn = line.turns.pop() if may_go_on else None
            if turn is not None:
                heapq.heapreplace(heads, (turn, line))
            else:
                heapq.heappop(heads)
        return Decision(self._grants, self._reservations)

    def _serve(self, entry: QueueEntry, line: _Line) -> bool:
        """Grant it, or reserve; whether another one of the line may still get something."""
        shape = line.shape
        if self._stopped_by_limit(shape):
            return False
        if not line.failed:
            taken = take(shape.lots, shape.gpus, smallest=shape.smallest)
            if taken is not None:
                self._forecast.grant(taken, entry.request.term)
                self._give(entry, shape, taken)
                return True
            line.failed = True
        taken = self._backfill(entry, shape)
        if taken is not None:
            self._give(entry, shape, taken)
            return True
        if not line.reserved:
            line.reserved = True
            self._reserve(entry, shape)
        until = self._latest_end(shape)
        if until is None:
            return False
        line.turns.only(until - self._now)
        return True

    def _stopped_by_limit(self, shape: Shape) -> bool:
        stopped = False
        for name in shape.limited:
            most = self._limits[name].max_devices
            over = most is not None and self._use[name] + shape.cost > most + ROUNDING
            if over or name in self._full:
                self._full.add(name)
                stopped = True
        return stopped

    def _give(self, entry: QueueEntry, shape: Shape, taken: tuple[str, ...]) -> None:
        self._usable_now.clear()
        for name in shape.limited:
            self._use[name] += shape.cost
        if is_orphan(entry, self._snapshot):
            self._reservations[_key(entry.request)] = Reservation(taken, self._now)
        else:
            self._grants[_key(entry.request)] = taken

    def _reserve(self, entry: QueueEntry, shape: Shape) -> None:
        for name in shape.limited:
            self._use[name] += shape.cost
        free = [(lot, lot.take_all()) for lot in shape.lots if lot.room]
        if not free:
            self._claims.append((entry, shape))
            return
        self._usable_now.clear()
        for earlier, other in self._claims:
            self._forecast.claim(other.lots, other.gpus, earlier.request.term)
        self._claims.clear()
        claim = self._forecast.claim(
            shape.lots,
            shape.gpus,
            entry.request.term,
            has=[spot.device.uuid for _lot, spots in free for spot in spots],
        )
        eta = known(claim.at)
        self._reservations[_key(entry.request)] = Reservation(claim.device_uuids, eta.at)
        if eta.at is not None:
            for lot, spots in free:
                self._aside.setdefault(id(lot), []).extend((eta.at, spot) for spot in spots)

    # -- backfill

    def _usable(self, lots: Sequence[Lot]) -> dict[str, tuple[datetime, Spot, Lot]]:
        """What is free on these lots, set aside or not, and until when it may be used."""
        key = tuple(map(id, lots))
        if key in self._usable_now:
            return self._usable_now[key]
        usable: dict[str, tuple[datetime, Spot, Lot]] = {}
        for lot in lots:
            for until, spot in self._aside.get(id(lot), ()):
                uuid = spot.device.uuid
                if uuid not in usable or until > usable[uuid][0]:
                    usable[uuid] = (until, spot, lot)
            if lot.room:
                for spot in lot.left():
                    usable[spot.device.uuid] = (NEVER, spot, lot)
        self._usable_now[key] = usable
        return usable

    def _backfill(self, entry: QueueEntry, shape: Shape) -> tuple[str, ...] | None:
        term = entry.request.term
        if term is None or not any(id(lot) in self._aside for lot in shape.lots):
            return None
        end = self._now + term
        usable = {uuid: each for uuid, each in self._usable(shape.lots).items() if each[0] >= end}
        if len(usable) < shape.gpus:
            return None
        spots: dict[int, list[Spot]] = {}
        for _until, spot, lot in usable.values():
            spots.setdefault(id(lot), []).append(spot)
        lots = [lot.like(spots[id(lot)]) for lot in shape.lots if id(lot) in spots]
        taken = take(lots, shape.gpus, smallest=shape.smallest) or ()
        for uuid in taken:
            until, spot, lot = usable[uuid]
            if until is NEVER:
                lot.take_these([uuid])
                self._forecast.grant([uuid], term)
            else:  # the forecast has it as the reservation's already, which will have it by then
                self._aside[id(lot)].remove((until, spot))
        return taken

    def _latest_end(self, shape: Shape) -> datetime | None:
        """When a request of this shape must be over to be served now; None: it cannot be."""
        untils = sorted((until for until, _, _ in self._usable(shape.lots).values()), reverse=True)
        if len(untils) < shape.gpus or untils[shape.gpus - 1] <= self._now:
            return None
        return untils[shape.gpus - 1]


def _line(snapshot: Snapshot) -> tuple[tuple[Place, ...], Mapping[Key, Place]]:
    known_one: tuple[tuple[Place, ...], dict[Key, Place]] | None = snapshot.derived.get("line")
    if known_one is None:
        places = _places(snapshot)
        known_one = (places, {_key(place.entry.request): place for place in places})
        snapshot.derived["line"] = known_one
    return known_one


def _places(snapshot: Snapshot) -> tuple[Place, ...]:
    decision, order = _decided(snapshot)
    if order is None:
        order = Order(snapshot, lots_of(snapshot.devices, snapshot.policy))
    line = order.line()
    etas = _etas(snapshot, order.lots, decision, line)
    return tuple(
        [
            Place(entry, position, etas.get(position, Eta()), not shape.passed)
            for position, (entry, shape) in enumerate(line, start=1)
        ]
    )


def _etas(
    snapshot: Snapshot,
    lots: Sequence[Lot],
    decision: Decision,
    line: Sequence[tuple[QueueEntry, Shape]],
) -> dict[int, Eta]:
    """By position, as far as something can be said."""
    forecast = Forecast(snapshot, lots, also_free=True)
    room = GroupRoom(snapshot, group_use(snapshot))
    now: Moment = (snapshot.now, "")
    etas: dict[int, Eta] = {}
    for position, (entry, shape) in enumerate(line, start=1):
        request = entry.request
        granted = decision.grants.get(_key(request))
        if granted is not None:
            forecast.grant(granted, request.term)
            room.claim(shape.limited, shape.cost, snapshot.now)
            room.end(shape.limited, shape.cost, forecast.end_of(now, request.term))
            etas[position] = known(now)
    for position, (entry, shape) in enumerate(line[:FORESEEN], start=1):
        if position in etas or shape.passed:
            continue
        earliest = room.claim(shape.limited, shape.cost, snapshot.now)
        claim = forecast.claim(shape.lots, shape.gpus, entry.request.term, earliest=earliest)
        room.end(shape.limited, shape.cost, claim.end)
        etas[position] = known(claim.at)
    return etas
