"""The errors that the driver reported for a device, for those who may see all devices. Pure.

Guarantees: the latest first; those of this run of the service with their own time, and those that
an earlier run saw and that keep the device out, with the time of its card's last one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..health import ANY_CARD, XidEvent, XidFault, counts, explain
from ..models import Device
from .device_reasons import device_reason
from .lease_views import Json

MOST = 20


def device_xids(
    device: Device, events: Sequence[XidEvent], faults: Mapping[str, XidFault]
) -> list[Json]:
    """At most MOST; `events` and `faults` are those of all cards."""
    card = device.parent or device.uuid
    found = [(event.at, event.xid) for event in events if event.card in (card, ANY_CARD)]
    told = {xid for _at, xid in found}
    for key in (card, ANY_CARD):
        fault = faults.get(key)
        if fault is not None:
            found += [(fault.at, xid) for xid in fault.xids if xid not in told]
    return [
        {
            "xid": xid,
            "at": at.isoformat(),
            "text": device_reason(explain(xid)),
            "counts": counts(xid),
        }
        for at, xid in sorted(found, reverse=True)[:MOST]
    ]
