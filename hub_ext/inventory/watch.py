"""The inventory together with the XIDs: what the service takes as the state of its devices.

Guarantees: a device that a fatal XID keeps out stays out over a restart of the service and of the
hub, for the memory has it; it comes back by itself. An inventory that cannot be told stays an
error.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import UTC, datetime, timedelta

from ..health import (
    ADVICE_XIDS,
    CATALOGUE,
    QUARANTINE,
    XidEvent,
    XidFault,
    assess,
    counts,
    explain,
    from_text,
    note,
    to_text,
)
from ..models import Cordon, Device, DeviceRecord
from .discovery import Inventory
from .memory import Memory

_NAME = "xids"
MOST_RECENT = 256  # XIDs of all cards and kinds that are remembered in this process

_log = logging.getLogger("gpucamp.inventory")


class DeviceWatch:
    """One of a process; `scan` is called by one thread at a time."""

    def __init__(
        self,
        inventory: Inventory,
        memory: Memory,
        *,
        quarantine: timedelta = QUARANTINE,
        leave: Callable[[], Collection[str]] = frozenset,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`quarantine` is how long a device stays out after its last fatal XID; `leave` gives the
        UUIDs of devices that an admin works on: who watches a card for XIDs keeps it from a reset.
        """
        self._inventory = inventory
        self._memory = memory
        self._quarantine = quarantine
        self._leave = leave
        self._now = now
        self._faults: dict[str, XidFault] | None = None  # None: not recalled yet
        self._kept = ""
        self._recent: tuple[XidEvent, ...] = ()

    def scan(self) -> tuple[Device, ...]:
        """The devices with what XIDs say of them; blocks for seconds at most.

        Raises InventoryUnavailable, and LedgerUnavailable if the memory does.
        """
        devices = self._inventory.scan()
        if self._faults is None:
            self._kept, self._faults = _recalled(self._memory)
        events = self._inventory.events(self._leave())
        for event in events:
            _report(event)
        self._recent = (*self._recent, *events)[-MOST_RECENT:]
        now = self._now()
        self._faults = note(self._faults, events, now, self._quarantine)
        text = to_text(self._faults) if self._faults else ""
        if text != self._kept:
            self._memory.remember(_NAME, text)
            self._kept = text
        return assess(devices, self._faults, now, self._quarantine)

    @property
    def recent(self) -> tuple[XidEvent, ...]:
        """The latest XIDs, also those that do not count, oldest first; any thread may ask."""
        return self._recent

    @property
    def trouble(self) -> str:
        """Why XIDs are not seen now, or ""."""
        return self._inventory.trouble

    def close(self) -> None:
        """End what watches for XIDs; returns within seconds."""
        self._inventory.close()


def out_of_use(records: Iterable[DeviceRecord]) -> frozenset[str]:
    """The UUIDs of devices that an admin took out and nobody holds."""
    return frozenset(
        record.device.uuid
        for record in records
        if record.cordon is not Cordon.NONE and not record.lease_ids
    )


def with_known_faults(
    devices: Sequence[Device], memory: Memory, now: datetime
) -> tuple[Device, ...]:
    """The devices with what the memory of a DeviceWatch says of them, for who has none."""
    return assess(devices, known_faults(memory), now)


def known_faults(memory: Memory) -> dict[str, XidFault]:
    """By card, the XIDs that keep it out, as the last look of a DeviceWatch left them."""
    return _recalled(memory)[1]


def _recalled(memory: Memory) -> tuple[str, dict[str, XidFault]]:
    text = memory.recall(_NAME) or ""
    try:
        return text, from_text(text)
    except ValueError as error:
        _log.warning("Which XIDs came before is not known: %s.", error)
        return text, {}


def _report(event: XidEvent) -> None:
    """One line in the log for each XID."""
    card = event.card or "a card that the driver does not name"
    if event.xid not in CATALOGUE:
        _log.error("%s: %s It keeps the device out.", card, explain(event.xid))
    elif counts(event.xid):
        _log.error("%s: %s", card, explain(event.xid))
    elif event.xid in ADVICE_XIDS:
        _log.warning("%s: %s", card, explain(event.xid))
    else:
        _log.info("%s: %s", card, explain(event.xid))
