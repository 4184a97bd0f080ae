"""What all spawners of one hub process share: ledger, Engine, and the line of those who wait.

What this module guarantees: a ledger is opened once per process and claimed before anything else;
each process is a run of its own, so that those whom an earlier one let wait keep their place in the
queue and are known to have nobody who waits for them (queue_keeper.py); the devices of this host
are in the ledger before the first request is looked at. So spawns need no other process of gpucamp.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

from .clean_ups import CleanUps
from .engine import EngineClient
from .errors import InventoryUnavailable
from .fair_queue import Decision, Place, decide, line_up
from .hub_claim import HubClaim
from .inventory import with_known_faults
from .ledger import Ledger
from .models import Device, Key, Snapshot
from .queue_keeper import QueueKeeper
from .start_slots import StartSlots
from .tasks import seen

T = TypeVar("T")

SNAPSHOT_SECONDS = 0.5

_log = logging.getLogger("gpucamp.hub")


class HubSide:
    """The shared parts. `open_hub_side` makes it.

    `run` names this process in the queue; `waiting` are the servers that wait in it.
    """

    def __init__(
        self,
        ledger: Ledger,
        claim: HubClaim,
        engine: EngineClient,
        *,
        run: str = "",
        waiting: set[Key] | None = None,
        starts_at_once: int = 1,
    ) -> None:
        self.ledger = ledger
        self.claim = claim
        self.engine = engine
        self.run = run
        self.waiting: set[Key] = set() if waiting is None else waiting
        self.refused_forms: dict[str, Mapping[str, object]] = {}  # by user, until shown again
        self.hub_id = ledger.hub_id()
        self.line = Line(ledger)
        self.clean_ups: dict[Key, asyncio.Task[None]] = {}
        self.written_clean_ups = CleanUps(ledger)
        self.left_by_earlier = self.written_clean_ups.all()
        self.start_slots = StartSlots(starts_at_once)
        self.ulimits_refused = False  # this Engine may not raise limits (seen at a start)
        self._under_way: dict[Key, set[asyncio.Task[Any]]] = defaultdict(set)

    async def finish(self, key: Key, step: Coroutine[Any, Any, T]) -> T:
        """Run a step that has an effect outside this process.

        If the caller is cancelled the step goes on, and `settled` knows of it.
        """
        task = asyncio.ensure_future(step)
        steps = self._under_way[key]
        steps.add(task)

        def ended(_task: asyncio.Task[T]) -> None:
            steps.discard(task)
            if not steps:
                self._under_way.pop(key, None)

        task.add_done_callback(ended)
        task.add_done_callback(seen)
        return await asyncio.shield(task)

    async def settled(self, key: Key) -> None:
        """Return when no step of this server is under way."""
        while steps := tuple(self._under_way.get(key, ())):
            await asyncio.wait(steps)


@dataclass(frozen=True, slots=True)
class View:
    """A snapshot and what follows from it, worked out once for all who look at it."""

    snapshot: Snapshot
    decision: Decision
    places: Mapping[Key, Place]
    set_aside: Mapping[Key, int]  # how many free devices are kept for one who waits for more


def view_of(snapshot: Snapshot) -> View:
    """Decide for all who wait."""
    places = {(p.entry.request.user, p.entry.request.server): p for p in line_up(snapshot)}
    decision = decide(snapshot)
    free = {each.device.uuid for each in snapshot.devices if each.is_free}
    set_aside = {
        key: len(free.intersection(reserved.device_uuids))
        for key, reserved in decision.reservations.items()
    }
    return View(snapshot, decision, places, set_aside)


class Line:
    """Those who wait for devices look here: one read of the ledger serves all of them."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._bell = asyncio.Event()
        self._reading: asyncio.Task[View] | None = None
        self._read_at = 0.0

    async def look(self) -> View:
        """A view that is not older than half a second, nor than the last ring."""
        if self._reading is None or time.monotonic() - self._read_at > SNAPSHOT_SECONDS:
            self._read_at = time.monotonic()
            self._reading = asyncio.ensure_future(asyncio.to_thread(self._read))
            self._reading.add_done_callback(seen)
        return await asyncio.shield(self._reading)

    def _read(self) -> View:
        return view_of(self._ledger.snapshot())

    def ring(self) -> None:
        """Something changed: a lease ended, or someone came or left."""
        self._reading = None
        self._bell.set()
        self._bell = asyncio.Event()

    async def change(self, within: float) -> None:
        """Return at the next ring, or after `within` seconds."""
        bell = self._bell
        try:
            async with asyncio.timeout(within):
                await bell.wait()
        except TimeoutError:
            return


@dataclass(frozen=True, slots=True)
class _Claimed:
    ledger: Ledger
    claim: HubClaim
    keeper: QueueKeeper


_opening = threading.Lock()
_claimed: dict[str, _Claimed] = {}
_sides: dict[str, HubSide] = {}


def claim_ledger(ledger_url: str) -> tuple[Ledger, HubClaim]:
    """The ledger, claimed for this process; the first call opens it and begins a run of the hub.

    Raises LedgerInUse, LedgerUnavailable; the next call tries again.
    """
    claimed = _claim(ledger_url)
    return claimed.ledger, claimed.claim


def _claim(ledger_url: str) -> _Claimed:
    with _opening:
        if ledger_url not in _claimed:
            ledger = Ledger(ledger_url)
            ledger.migrate()
            claim = HubClaim(ledger)
            claim.take()
            run = uuid.uuid4().hex
            ledger.begin_run(run, datetime.now(UTC))
            keeper = QueueKeeper(ledger, run)
            keeper.start()
            _claimed[ledger_url] = _Claimed(ledger, claim, keeper)
        return _claimed[ledger_url]


def open_hub_side(
    ledger_url: str,
    make_engine: Callable[[], EngineClient],
    find_devices: Callable[[], Iterable[Device]],
    starts_at_once: int = 1,
) -> HubSide:
    """The shared parts for this ledger; the first call opens them (it blocks: call it in a thread).

    `starts_at_once` is how many containers may be started at the same time.

    Raises LedgerInUse, LedgerUnavailable, and InventoryUnavailable on a host whose devices were
    never seen; the next call tries again.
    """
    claimed = _claim(ledger_url)
    ledger = claimed.ledger
    with _opening:
        if ledger_url not in _sides:
            try:
                now = datetime.now(UTC)
                devices = with_known_faults(tuple(find_devices()), ledger, now)
                ledger.record_inventory(devices, now)
            except InventoryUnavailable as error:
                if not ledger.devices():
                    raise
                _log.error("Working with the devices seen last. %s", error)
            _sides[ledger_url] = HubSide(
                ledger,
                claimed.claim,
                make_engine(),
                run=claimed.keeper.run,
                waiting=claimed.keeper.waiting,
                starts_at_once=starts_at_once,
            )
        side = _sides[ledger_url]
    side.claim.require()
    return side


def opened_hub_side(ledger_url: str) -> HubSide | None:
    """The shared parts if they are open already."""
    return _sides.get(ledger_url)
