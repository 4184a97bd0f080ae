"""The inventory: which devices this host has, and whether they are well.

`discover()` gives an Inventory; its `scan()` blocks for seconds at most, and either tells what is
there or raises InventoryUnavailable. It never answers with fewer devices because it could not look.
A DeviceWatch adds what XIDs say.
"""

from __future__ import annotations

import functools

from ..models import Device
from .discovery import Inventory, discover
from .practice import practice_devices
from .watch import DeviceWatch, known_faults, out_of_use, with_known_faults

__all__ = [
    "DeviceWatch",
    "Inventory",
    "discover",
    "known_faults",
    "out_of_use",
    "practice_devices",
    "scan",
    "with_known_faults",
]

_discovered = functools.cache(discover)


def scan(practice_devices: int = 2) -> tuple[Device, ...]:
    """The devices of this host, seen by the one Inventory of this process.

    Blocks; call it in a thread. Raises InventoryUnavailable.
    """
    return _discovered(practice_devices).scan()
