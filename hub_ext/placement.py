"""Which free devices a request gets.

What this module guarantees: the choice depends on nothing but its arguments (the same ledger gives
the same devices); no device is chosen twice, and none that is leased, missing or quarantined; all
the devices of a request are granted together or none is.
"""

from __future__ import annotations

from collections.abc import Iterable

from .models import DeviceRecord, DeviceState


def free_devices(devices: Iterable[DeviceRecord]) -> tuple[DeviceRecord, ...]:
    """The devices that a new lease may take, in the order of placement."""
    return tuple(sorted((each for each in devices if each.is_free), key=_order))


def usable_count(devices: Iterable[DeviceRecord]) -> int:
    """How many devices could be leased if every lease ended now."""
    return sum(1 for each in devices if each.state is DeviceState.HEALTHY)


def promised_count(devices: Iterable[DeviceRecord]) -> int:
    """How many devices a request may count on, now or after a repair.

    Those that are here, in order or not; if none is (a driver that is away for a moment), those
    known from earlier.
    """
    known = tuple(devices)
    here = sum(1 for each in known if each.state is not DeviceState.MISSING)
    return here or len(known)


def choose(devices: Iterable[DeviceRecord], gpus: int) -> tuple[str, ...] | None:
    """UUIDs of `gpus` free devices, or None if there are not enough.

    Devices of one kind are taken together, and of several kinds that fit the one with the fewest
    free devices, which keeps the larger group whole for a larger request (best fit). Only when no
    single kind is enough are kinds mixed, since unequal devices slow each other in DDP.
    """
    free = free_devices(devices)
    if gpus > len(free):
        return None
    kinds: dict[tuple[str, int], list[DeviceRecord]] = {}
    for each in free:
        kinds.setdefault((each.device.name, each.device.memory_bytes), []).append(each)
    fitting = [group for group in kinds.values() if len(group) >= gpus]
    source = min(fitting, key=lambda group: (len(group), _order(group[0]))) if fitting else free
    return tuple(each.device.uuid for each in source[:gpus])


def _order(record: DeviceRecord) -> str:
    return record.device.uuid
