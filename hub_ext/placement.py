"""Which devices a request may have, and which free ones it gets.

What this module guarantees: the choice depends on nothing but its arguments (the same ledger gives
the same devices); no device is chosen twice, and none that is leased, missing, quarantined or
cordoned; shared and exclusive devices are never taken for each other; all the devices of a request
are granted together or none is. By which rule: see stock.py and topology.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from .models import Device, DeviceRecord, DeviceState, Request
from .policy import Policy
from .stock import lots_of, take

_NO_POLICY = Policy()


def suits(device: Device, request: Request, policy: Policy) -> bool:
    """Whether the request could be given this device (or a slot of it) if it were free.

    A MIG instance suits one that asks for a single device only: there is no DDP over MIG.
    """
    return (
        device.shared == request.share
        and device.memory_bytes >= request.min_memory_bytes
        and not (device.is_mig and request.gpus > 1)
        and request.model.casefold() in device.name.casefold()
        and policy.admits(device.pool, request.groups)
    )


def free_devices(devices: Iterable[DeviceRecord]) -> tuple[DeviceRecord, ...]:
    """The exclusive devices that a new lease may take, in order of UUID."""
    free = (each for each in devices if each.is_free and not each.device.shared)
    return tuple(sorted(free, key=_order))


def free_count(devices: Iterable[DeviceRecord], request: Request, policy: Policy) -> int:
    """On how many devices the request could be served now: free ones, or with a free slot."""
    return sum(1 for each in devices if _has_room(each) and suits(each.device, request, policy))


def usable_count(
    devices: Iterable[DeviceRecord], request: Request | None = None, policy: Policy = _NO_POLICY
) -> int:
    """How many devices (that suit the request) could be leased if every lease ended now."""
    return sum(
        1
        for each in devices
        if each.accepts and (request is None or suits(each.device, request, policy))
    )


def promised_count(
    devices: Iterable[DeviceRecord], request: Request | None = None, policy: Policy = _NO_POLICY
) -> int:
    """How many devices (that suit the request) may be counted on, now or after a repair.

    Those that are here, in order or not; if none is (a driver that is away for a moment), those
    known from earlier.
    """
    promised = _promised(devices)
    if request is None:
        return len(promised)
    return sum(1 for each in promised if suits(each, request, policy))


@dataclass(frozen=True, slots=True)
class Capacity:
    """What there is for a request, whoever has it now: the facts behind a refusal.

    `devices` suit it; `with_mig` would if MIG instances counted for several GPUs, too;
    `largest_memory_bytes` is that of a device of the model asked for (0: there is none), `models`
    are all that the user may have in this mode (shared or exclusive), in order.
    """

    devices: int
    with_mig: int
    largest_memory_bytes: int
    models: tuple[str, ...]


def capacity(devices: Iterable[DeviceRecord], request: Request, policy: Policy) -> Capacity:
    """How far the devices that may be counted on (see promised_count) go for this request."""
    allowed = [
        each
        for each in _promised(devices)
        if each.shared == request.share and policy.admits(each.pool, request.groups)
    ]
    model = request.model.casefold()
    of_model = [each for each in allowed if model in each.name.casefold()]
    enough = [each for each in of_model if each.memory_bytes >= request.min_memory_bytes]
    return Capacity(
        devices=sum(1 for each in enough if suits(each, request, policy)),
        with_mig=len(enough),
        largest_memory_bytes=max((each.memory_bytes for each in of_model), default=0),
        models=tuple(sorted({each.name for each in allowed})),
    )


def choose(
    devices: Iterable[DeviceRecord], request: Request, policy: Policy
) -> tuple[str, ...] | None:
    """UUIDs of the free devices that this request gets, or None if there are not enough."""
    lots = [lot for lot in lots_of(devices, policy) if suits(lot.device, request, policy)]
    return take(lots, request.gpus, smallest=request.min_memory_bytes > 0)


def _has_room(record: DeviceRecord) -> bool:
    return record.free_slots > 0 if record.device.shared else record.is_free


def _promised(devices: Iterable[DeviceRecord]) -> list[Device]:
    known = tuple(devices)
    here = [each.device for each in known if each.state is not DeviceState.MISSING]
    return here or [each.device for each in known]


def _order(record: DeviceRecord) -> str:
    return record.device.uuid
