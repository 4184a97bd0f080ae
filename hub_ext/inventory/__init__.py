"""The inventory: which devices this host has, and whether they are well.

`discover()` gives an Inventory; its `scan()` blocks for seconds at most, and either tells what is
there or raises InventoryUnavailable. It never answers with fewer devices because it could not look.
"""

from __future__ import annotations

import functools

from ..models import Device
from .discovery import Inventory, discover
from .practice import practice_devices

__all__ = ["Inventory", "discover", "practice_devices", "scan"]

_discovered = functools.cache(discover)


def scan(practice_devices: int = 2) -> tuple[Device, ...]:
    """The devices of this host, seen by the one Inventory of this process.

    Blocks; call it in a thread. Raises InventoryUnavailable.
    """
    return _discovered(practice_devices).scan()
