"""How NVML says that cards are linked; part of the probe, so it may hang or die.

The scores are those of models.Link. NVLinks count where peer-to-peer over them works: those that
join two cards, and those of both to an NVSwitch, which joins any two. What a driver does not tell
is left out, and never makes a card ill.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pynvml

from ..models import Link

_LEVELS = {
    0: Link.BOARD,  # NVML_TOPOLOGY_INTERNAL
    10: Link.ONE_SWITCH,
    20: Link.SWITCHES,
    30: Link.HOST_BRIDGE,
    40: Link.SAME_NODE,
    50: Link.OTHER_SOCKET,
}
# of the binding, NVML_P2P_CAPS_INDEX_READ is a tuple by mistake: the numbers are NVML's
_P2P_NVLINK = 2
_P2P_OK = 0
_REMOTE_SWITCH = 2
_SWITCH = "switch"
_MAX_LINKS = 36  # NVML_NVLINK_MAX_LINKS; a card refuses the numbers that it does not have


class Card:
    """A card that may be linked."""

    def __init__(self, uuid: str, handle: Any, bus_id: str, numa_node: int | None) -> None:
        self.uuid = uuid
        self.handle = handle
        self.bus_id = bus_id
        self.numa_node = numa_node


def links(cards: Sequence[Card]) -> dict[str, list[tuple[str, int]]]:
    """For each card's UUID: (UUID of another, score), best first. Asks about every pair once."""
    buses = {card.bus_id for card in cards if card.bus_id}
    ends = {card.uuid: _nvlinks(card, buses) for card in cards}
    found: dict[str, list[tuple[str, int]]] = {card.uuid: [] for card in cards}
    for number, one in enumerate(cards):
        for other in cards[:number]:
            score = _score(one, other, ends)
            if score is not None:
                found[one.uuid].append((other.uuid, score))
                found[other.uuid].append((one.uuid, score))
    return {uuid: sorted(peers, key=lambda peer: -peer[1]) for uuid, peers in found.items()}


def _score(one: Card, other: Card, ends: dict[str, dict[str, int]]) -> int | None:
    mine, theirs = ends[one.uuid], ends[other.uuid]
    count = mine.get(other.bus_id, 0) or min(mine.get(_SWITCH, 0), theirs.get(_SWITCH, 0))
    if count and _ask(pynvml.nvmlDeviceGetP2PStatus, one.handle, other.handle, _P2P_NVLINK) in (
        None,
        _P2P_OK,
    ):
        return Link.NVLINK + count - 1
    level = _ask(pynvml.nvmlDeviceGetTopologyCommonAncestor, one.handle, other.handle)
    if level in _LEVELS:
        return int(_LEVELS[level])
    if one.numa_node is None or other.numa_node is None:
        return None
    return int(Link.SAME_NODE if one.numa_node == other.numa_node else Link.OTHER_SOCKET)


def _nvlinks(card: Card, buses: set[str]) -> dict[str, int]:
    """How many active NVLinks go to each bus id, or to a switch."""
    ends: dict[str, int] = {}
    for number in range(_MAX_LINKS):
        try:
            active = pynvml.nvmlDeviceGetNvLinkState(card.handle, number)
        except pynvml.NVMLError:
            break  # no NVLink at all, or no more
        if not active:
            continue
        remote = _ask(pynvml.nvmlDeviceGetNvLinkRemotePciInfo, card.handle, number)
        bus = "" if remote is None else text(remote.busId)
        kind = _ask(pynvml.nvmlDeviceGetNvLinkRemoteDeviceType, card.handle, number)
        # older drivers do not tell the kind: what is no card of this host is a switch
        end = _SWITCH if kind == _REMOTE_SWITCH or (kind is None and bus not in buses) else bus
        ends[end] = ends.get(end, 0) + 1
    return ends


def numa_node(handle: Any) -> int | None:
    """The NUMA node of the processors that the card is near to; None: not told, or several."""
    mask = _ask(pynvml.nvmlDeviceGetMemoryAffinity, handle, 1, 0)
    if mask is not None:
        nodes = [node for node in range(64) if mask[0] >> node & 1]
        return nodes[0] if len(nodes) == 1 else None
    node = _ask(pynvml.nvmlDeviceGetNumaNodeId, handle)
    return node if node is not None and node >= 0 else None


def bus_id(handle: Any) -> str:
    """The card's PCI bus id, "" if it is not told."""
    pci = _ask(pynvml.nvmlDeviceGetPciInfo, handle)
    return "" if pci is None else text(pci.busId)


def text(value: str | bytes) -> str:
    """What NVML gave, as text."""
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def _ask(call: Any, *arguments: Any) -> Any:
    try:
        return call(*arguments)
    except pynvml.NVMLError:
        return None
