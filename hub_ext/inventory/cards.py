"""Which devices a card has that NVML can no longer read.

Guarantee: a card that was read before, by this process or by an earlier one with the same memory,
is known again by its PCI bus id or, if NVML tells none, by its index; its devices are then
unhealthy with the reason. A device that was found elsewhere is never made up.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

from ..models import Device
from .memory import Memory

_NAME = "cards"
_KEPT = ("uuid", "name", "memory_bytes", "simulated", "parent", "numa_node")

_log = logging.getLogger("gpucamp.inventory")


@dataclass(frozen=True, slots=True)
class SeenCard:
    """A card as the last probe saw it; with an `error` its devices are not complete."""

    index: int
    bus_id: str
    devices: tuple[Device, ...]
    error: str = ""


class CardMemory:
    """Remembers cards while they can be read."""

    def __init__(self, memory: Memory | None = None) -> None:
        self._memory = memory
        self._cards: dict[int, SeenCard] = {}
        self._kept: str | None = None  # what the memory has; None: not asked yet

    def complete(self, seen: Sequence[SeenCard]) -> tuple[tuple[Device, ...], list[str]]:
        """All devices in order, those of unreadable cards unhealthy; and the cards nobody knows.

        Raises what the memory raises.
        """
        self._recall()
        found = {device.uuid for card in seen for device in card.devices}
        devices: list[Device] = []
        unknown: list[str] = []
        cards: dict[int, SeenCard] = {}
        for card in seen:
            devices.extend(card.devices)
            if not card.error:
                cards[card.index] = card
                continue
            before = self._before(card)
            lost = [each for each in before.devices if each.uuid not in found] if before else []
            devices.extend(_unreadable(each, card.error) for each in lost)
            if before:
                cards[card.index] = before
            if not lost and not card.devices:
                unknown.append(f"GPU {card.index}: {card.error}")
        self._cards = cards
        self._remember()
        return tuple(devices), unknown

    def _before(self, card: SeenCard) -> SeenCard | None:
        if card.bus_id:
            same = (each for each in self._cards.values() if each.bus_id == card.bus_id)
            return next(same, None)
        return self._cards.get(card.index)

    def _recall(self) -> None:
        if self._memory is None or self._kept is not None:
            return
        kept = self._memory.recall(_NAME) or ""
        try:
            self._cards = _from_text(kept)
        except (ValueError, TypeError, KeyError) as error:
            _log.warning("Which cards were seen before is not known: %r.", error)
        self._kept = kept

    def _remember(self) -> None:
        text = _to_text(self._cards)
        if self._memory is not None and text != self._kept:
            self._memory.remember(_NAME, text)
            self._kept = text


def _unreadable(device: Device, error: str) -> Device:
    return replace(
        device,
        healthy=False,
        reason=f"NVML cannot read the card: {error}; the host may need a reboot",
        compute_processes=None,
        utilization_percent=None,
        detail=None,
    )


def _to_text(cards: dict[int, SeenCard]) -> str:
    return json.dumps(
        [
            {
                "index": card.index,
                "bus_id": card.bus_id,
                "devices": [
                    {name: value for name, value in asdict(each).items() if name in _KEPT}
                    for each in card.devices
                ],
            }
            for card in cards.values()
        ]
    )


def _from_text(text: str) -> dict[int, SeenCard]:
    return {
        card["index"]: SeenCard(
            card["index"], card["bus_id"], tuple(Device(**each) for each in card["devices"])
        )
        for card in json.loads(text or "[]")
    }
