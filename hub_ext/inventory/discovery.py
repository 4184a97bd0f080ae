"""Which inventory this host has: NVML where there is an NVIDIA card or driver, else practice.

Guarantee: simulated devices appear only on a host that shows no sign of a card. A card whose driver
is away is an InventoryUnavailable, not a reason to simulate: neither later in the same process nor
after a restart.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Collection
from pathlib import Path
from typing import Protocol

from ..errors import InventoryUnavailable
from ..health import XidEvent
from ..models import Device
from .memory import Memory
from .nvml import NoDriver, NvmlInventory
from .practice import practice_devices as make_practice_devices
from .practice_state import PracticeState

_NVIDIA = "0x10de"
_DISPLAY_CLASS = "0x03"
KINDS = ("auto", "nvml", "practice")

_log = logging.getLogger("gpucamp.inventory")


class Inventory(Protocol):
    """Where devices come from."""

    def scan(self) -> tuple[Device, ...]:
        """The devices now; blocks for seconds at most. Raises InventoryUnavailable."""
        ...

    def events(self, leave: Collection[str] = ()) -> tuple[XidEvent, ...]:
        """XIDs since the last call; the first call begins to watch for them.

        The devices of these UUIDs are left alone, as far as that is possible.
        """
        ...

    @property
    def trouble(self) -> str:
        """Why XIDs are not seen now, or ""."""
        ...

    def close(self) -> None:
        """End what watches for XIDs."""
        ...


class PracticeInventory:
    """Simulated devices, the same at every start; a state may change them at run time."""

    trouble = ""

    def __init__(self, count: int, state: PracticeState | None = None) -> None:
        self._devices = make_practice_devices(count)
        self._state = state or PracticeState(None)

    def scan(self) -> tuple[Device, ...]:
        """All of them that are not missing."""
        return self._state.apply(self._devices)

    def events(self, leave: Collection[str] = ()) -> tuple[XidEvent, ...]:
        """What the state says."""
        return self._state.events()

    def close(self) -> None:
        """Nothing is to be ended."""


class DetectedInventory:
    """NVML, or practice devices as long as nothing points to a card."""

    def __init__(self, nvml: Inventory, practice: Inventory, root: Path = Path("/")) -> None:
        """`root` is where /sys, /proc and /dev are looked for."""
        self._nvml = nvml
        self._practice = practice
        self._root = root
        self._seen_card = False
        self._simulating = False

    def scan(self) -> tuple[Device, ...]:
        """Real devices, or simulated ones. Raises InventoryUnavailable."""
        try:
            found = self._nvml.scan()
        except NoDriver as error:
            sign = self._sign_of_card()
            if sign:
                raise InventoryUnavailable(
                    f"This host has an NVIDIA card ({sign}), but no driver answers. {error} "
                    "GPUCAMP_INVENTORY=practice works with simulated devices instead."
                ) from error
            return self._simulate()
        if found:
            self._seen_card = True
        if found or self._sign_of_card():
            self._simulating = False
            return found
        return self._simulate()

    def events(self, leave: Collection[str] = ()) -> tuple[XidEvent, ...]:
        """Those of the inventory that answered last; without a card NVML is not watched."""
        return (self._practice if self._simulating else self._nvml).events(leave)

    @property
    def trouble(self) -> str:
        """Why XIDs are not seen now, or ""."""
        return "" if self._simulating else self._nvml.trouble

    def close(self) -> None:
        """End both."""
        self._nvml.close()
        self._practice.close()

    def _simulate(self) -> tuple[Device, ...]:
        if not self._simulating:
            _log.warning("No NVIDIA card on this host: working with simulated devices.")
            self._simulating = True
        return self._practice.scan()

    def _sign_of_card(self) -> str:
        """What points to a card on this host, or ""."""
        if self._seen_card:
            return "it answered before"
        for path in ("proc/driver/nvidia/version", "dev/nvidiactl"):
            if (self._root / path).exists():
                return f"/{path}"
        for device in sorted((self._root / "sys/bus/pci/devices").glob("*")):
            vendor, kind = _read(device / "vendor"), _read(device / "class")
            if vendor == _NVIDIA and kind.startswith(_DISPLAY_CLASS):
                return f"PCI {device.name}"
        return ""


def discover(
    practice_devices: int = 2, *, kind: str | None = None, memory: Memory | None = None
) -> Inventory:
    """The inventory of this host; looks at nothing yet.

    `kind` is "auto", "nvml" (an error where there is no driver) or "practice" (simulated even
    beside a card); by default $GPUCAMP_INVENTORY, else "auto". With a `memory`, cards that cannot
    be read are known from earlier processes. Raises ValueError.
    """
    chosen = kind or os.environ.get("GPUCAMP_INVENTORY") or "auto"
    file = os.environ.get("GPUCAMP_PRACTICE_STATE")
    practice = PracticeInventory(practice_devices, PracticeState(Path(file) if file else None))
    if chosen == "auto":
        return DetectedInventory(NvmlInventory(memory=memory), practice)
    if chosen == "nvml":
        return NvmlInventory(memory=memory)
    if chosen == "practice":
        return practice
    raise ValueError(f"GPUCAMP_INVENTORY is one of {', '.join(KINDS)}, not {chosen!r}.")


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
