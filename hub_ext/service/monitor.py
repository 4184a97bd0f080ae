"""Two loops that keep the ledger true: the inventory of devices, and reconciling with the Engine.

Guarantees:
- A scan that fails, hangs or finds the driver away changes nothing: the last inventory stays, and
  `health` says so as soon as the time limit is over. A hung scan is not joined by a second one.
- Before an action of reconciling is applied, what it rests on is read again from the ledger, so a
  lease that changed since is left for the next look.
- An error in one round is logged and never ends a loop.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from ..clean_ups import written
from ..errors import EngineRefused, EngineUnavailable, GpucampError, NotFound
from ..ledger import Ledger
from ..models import Device, DeviceChange, DeviceState, LeaseState
from ..reconcile import (
    Action,
    AdoptContainer,
    ContainerFact,
    EndLease,
    MarkGone,
    Patience,
    Plan,
    RemoveContainer,
    plan,
)
from . import counters
from .containers import HubContainers
from .device_samples import DeviceSamples

_log = logging.getLogger(__name__)

# blocks; raises LedgerUnavailable
Shown = Callable[[Sequence[Device], Sequence[ContainerFact]], Sequence[Device]]


@dataclass(slots=True)
class Health:
    """What the loops saw last; "" means well."""

    inventory_error: str = "not scanned yet"
    xid_error: str = ""  # XIDs are not seen now
    engine_error: str = "not asked yet"
    containers: tuple[ContainerFact, ...] = field(default_factory=tuple)


class Monitor:
    """Runs the loops from `start` to `close`."""

    def __init__(
        self,
        ledger: Ledger,
        engine: HubContainers,
        scan: Callable[[], Sequence[Device]] | None,
        *,
        xid_trouble: Callable[[], str] = lambda: "",
        scan_interval: float = 5.0,
        scan_timeout: float = 20.0,
        reconcile_interval: float = 5.0,
        patience: Patience | None = None,
        shown: Shown | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`shown`: what is shown of devices that an inventory found, beside these containers."""
        self.health = Health()
        self.samples = DeviceSamples()
        self._ledger = ledger
        self._engine = engine
        self._scan = scan
        self._xid_trouble = xid_trouble
        self._scan_interval = scan_interval
        self._scan_timeout = scan_timeout
        self._reconcile_interval = reconcile_interval
        self._patience = patience or Patience(
            running_without_container=timedelta(seconds=max(1.0, reconcile_interval * 0.8))
        )
        self._shown = shown
        self._now = now
        self._plan = Plan()
        # a driver may hang for ever in a call: its thread must not be one of the loop's
        self._scanner = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="inventory")
        self._scanning: concurrent.futures.Future[Sequence[Device]] | None = None
        self._last_scan: tuple[Sequence[Device], datetime] | None = None
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin both loops; without a `scan` some other process takes the inventory."""
        self._tasks = [asyncio.create_task(self._every(self._reconcile_interval, self.reconcile))]
        if self._scan is None:
            self.health.inventory_error = ""
            return
        self._tasks.append(
            asyncio.create_task(self._every(self._scan_interval, self.take_inventory))
        )

    async def close(self) -> None:
        """End both loops."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._scanner.shutdown(wait=False, cancel_futures=True)

    async def _every(self, seconds: float, round_: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await round_()
            except GpucampError as error:
                _log.warning("%s", error)
            except Exception:  # a bug in one round must not end the loop
                _log.exception("a round of the monitor failed")
            await asyncio.sleep(seconds)

    # -- inventory

    async def take_inventory(self) -> None:
        """Scan once and record what was found. Raises LedgerUnavailable."""
        if self._scanning is None:
            if self._scan is None:
                return
            self._scanning = self._scanner.submit(self._scan)
        scan = asyncio.wrap_future(self._scanning)
        done, _pending = await asyncio.wait({scan}, timeout=self._scan_timeout)
        if not done:
            self._inventory_failed(
                f"The inventory has not answered for {self._scan_timeout:g} s; the driver may "
                "hang. Look at `nvidia-smi` and `dmesg` on the host."
            )
            return
        self._scanning = None
        error = scan.exception()
        if error is not None:
            self._inventory_failed(f"The inventory failed: {error}")
            return
        self.health.xid_error = self._xid_trouble()
        devices, now = tuple(scan.result()), self._now()
        shown = devices
        if self._shown is not None:
            shown = tuple(await asyncio.to_thread(self._shown, devices, self.health.containers))
        self.samples.add(shown, now)
        for change in await asyncio.to_thread(self._ledger.record_inventory, devices, now):
            _report(change)
        self._last_scan = (devices, now)
        self.health.inventory_error = ""

    def seen(self) -> dict[str, Device]:
        """What the last inventory found, by UUID; nothing if the last one failed or is old."""
        fresh = self._fresh()
        return {device.uuid: device for device in fresh[0]} if fresh is not None else {}

    @property
    def looked_at(self) -> datetime | None:
        """When that inventory was recorded; None as above."""
        fresh = self._fresh()
        return fresh[1] if fresh is not None else None

    @property
    def inventory_at(self) -> datetime | None:
        """When the last inventory that succeeded was recorded, however old; None: none was."""
        return self._last_scan[1] if self._last_scan is not None else None

    def _fresh(self) -> tuple[Sequence[Device], datetime] | None:
        if self._last_scan is None or self.health.inventory_error:
            return None
        longest = timedelta(seconds=2 * self._scan_interval + self._scan_timeout)
        return self._last_scan if self._now() - self._last_scan[1] <= longest else None

    def _inventory_failed(self, message: str) -> None:
        if self.health.inventory_error != message:
            _log.error("%s", message)
        self.health.inventory_error = message

    # -- reconciling

    async def reconcile(self) -> None:
        """Compare once and act. Raises LedgerUnavailable."""
        try:
            await self._compare_and_act()
        except Exception:  # whatever it is, it is counted on its way
            counters.round_ended("failed")
            raise
        counters.round_ended("engine_unavailable" if self.health.engine_error else "succeeded")

    async def _compare_and_act(self) -> None:
        # the snapshot ends holds that have run out; leases are read before containers are listed
        leases = (await asyncio.to_thread(self._ledger.snapshot, self._now())).leases
        containers: tuple[ContainerFact, ...] | None
        try:
            containers = await self._engine.containers()
            self.health.engine_error, self.health.containers = "", containers
        except (EngineUnavailable, EngineRefused) as error:
            containers = None
            self.health.engine_error = str(error)
        resetting = await self._resetting()
        left = await asyncio.to_thread(written, self._ledger)
        self._plan = plan(
            leases,
            containers,
            self._now(),
            odd_since=self._plan.odd_since,
            resetting=resetting,
            to_be_removed={each.lease_id for each in left},
            patience=self._patience,
        )
        states = {lease.id: (lease.state, lease.container_id) for lease in leases}
        for action in self._plan.actions:
            await self._apply(action, states)

    async def _resetting(self) -> frozenset[tuple[str, str]]:
        unfinished = await asyncio.to_thread(self._ledger.unfinished_operations)
        return frozenset((operation.user, operation.server) for operation in unfinished)

    async def _apply(self, action: Action, states: dict[str, tuple[LeaseState, str]]) -> None:
        state = await self._state_now(action.lease_id)
        if isinstance(action, RemoveContainer) and not action.lease_lives:
            if state is None or state[0] is LeaseState.ENDED:
                _log.warning(
                    "removing container %s: no live lease %s", action.container_id, action.lease_id
                )
                await self._engine.remove(action.container_id)
                counters.reconciled(action)
            return
        if state is None or state != states.get(action.lease_id):
            return
        now = self._now()
        _log.warning("reconciling: %s", action)
        match action:
            case EndLease(lease_id, reason):
                await asyncio.to_thread(
                    self._ledger.end, lease_id, reason, now, if_container=state[1]
                )
            case MarkGone(lease_id):
                await asyncio.to_thread(self._ledger.mark_gone, lease_id, now)
            case RemoveContainer(container_id):
                await self._engine.remove(container_id)
            case AdoptContainer(lease_id, container_id):
                await asyncio.to_thread(self._ledger.mark_running, lease_id, container_id, now)
        counters.reconciled(action)

    async def _state_now(self, lease_id: str) -> tuple[LeaseState, str] | None:
        try:
            lease = await asyncio.to_thread(self._ledger.lease, lease_id)
        except NotFound:
            return None
        return lease.state, lease.container_id


def _report(change: DeviceChange) -> None:
    """One line in the log."""
    _log.log(
        logging.INFO if change.after is DeviceState.HEALTHY else logging.WARNING,
        "%s (%s) is %s%s%s",
        change.name,
        change.uuid,
        change.after.value,
        f": {change.reason}" if change.reason else "",
        f"; held by lease {', '.join(change.lease_ids)}" if change.lease_ids else "",
    )
