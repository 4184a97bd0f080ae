"""What XIDs say of devices: which count, for how long, and in which words. Pure.

An XID is the number of an error that the NVIDIA driver reports for a card. Guarantees:

- `assess` gives the devices that it was given, in their order, none more and none less; doing it
  twice is the same as doing it once;
- an XID that a user's program can cause never counts; any other, also one that is not known here,
  keeps its card's devices out until `QUARANTINE` after the last one, and then nothing more is
  needed than that NVML calls the device well;
- an XID whose card the driver did not name counts for every device.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from .i18n import N_
from .models import Device

QUARANTINE = timedelta(minutes=10)
ANY_CARD = ""  # of an event whose card is unknown
_MOST_XIDS = 8  # that a fault names


class Xid(NamedTuple):
    """A line of NVIDIA's XID catalogue, and what an admin does."""

    meaning: str
    remedy: str


_OF_A_PROGRAM = N_("A program of the user caused it; nothing is to be done for the GPU.")
CATALOGUE: Mapping[int, Xid] = {
    13: Xid(N_("graphics engine exception"), _OF_A_PROGRAM),
    31: Xid(N_("GPU memory page fault"), _OF_A_PROGRAM),
    43: Xid(N_("GPU stopped processing"), _OF_A_PROGRAM),
    45: Xid(N_("preemptive cleanup, due to previous errors"), _OF_A_PROGRAM),
    46: Xid(N_("GPU stopped processing: an engine timed out"), N_("Reset the GPU.")),
    48: Xid(
        N_("double-bit ECC error"),
        N_("Reset the GPU; if it comes again, have the card tested (dcgmi diag)."),
    ),
    62: Xid(
        N_("internal micro-controller halt"),
        N_("Reset the GPU; if it comes again, replace the card."),
    ),
    63: Xid(
        N_("ECC page retirement or row remapping recorded"),
        N_("Reset the GPU when nobody uses it: the bad memory is replaced then."),
    ),
    64: Xid(
        N_("ECC page retirement or row remapping failed"),
        N_("Reset the GPU; if it comes again, replace the card."),
    ),
    68: Xid(N_("video processor exception"), _OF_A_PROGRAM),
    74: Xid(
        N_("NVLink error"),
        N_("Reset the GPUs that it joins; look at `nvidia-smi nvlink -e`, and at the bridge."),
    ),
    79: Xid(
        N_("GPU has fallen off the bus"),
        N_("Reboot the host; look at power, heat and the PCIe slot."),
    ),
    94: Xid(
        N_("contained ECC error"), N_("The program that was hit starts again; the GPU works on.")
    ),
    95: Xid(N_("uncontained ECC error"), N_("End all work on the GPU and reset it.")),
    109: Xid(N_("context switch timeout"), _OF_A_PROGRAM),
    119: Xid(N_("GSP RPC timeout"), N_("Reset the GPU; if that fails, reboot the host.")),
    120: Xid(N_("GSP error"), N_("Reset the GPU; if that fails, reboot the host.")),
    140: Xid(N_("unrecovered ECC error"), N_("End all work on the GPU and reset it.")),
    154: Xid(
        N_("GPU recovery action changed"),
        N_("Do what `nvidia-smi -q` names as the GPU Recovery Action."),
    ),
}
UNKNOWN_XID = Xid(N_("not known here"), N_("Look it up in NVIDIA's XID catalogue."))
APPLICATION_XIDS = frozenset({13, 31, 43, 45, 68, 94, 109})
ADVICE_XIDS = frozenset({63})  # NVML says itself when the reset cannot wait


@dataclass(frozen=True, slots=True)
class XidEvent:
    """The driver reported an XID for a card: its UUID, not that of a MIG instance."""

    card: str
    xid: int
    at: datetime


@dataclass(frozen=True, slots=True)
class XidFault:
    """The XIDs that keep a card out, in the order in which they first came; `at` is the last."""

    xids: tuple[int, ...]
    at: datetime


def counts(xid: int) -> bool:
    """Whether no work may start on the card."""
    return xid not in APPLICATION_XIDS and xid not in ADVICE_XIDS


def explain(xid: int) -> str:
    """The XID with its meaning and what an admin does."""
    known = CATALOGUE.get(xid, UNKNOWN_XID)
    return f"Xid {xid} ({known.meaning}). {known.remedy}"


def note(
    faults: Mapping[str, XidFault],
    events: Iterable[XidEvent],
    now: datetime,
    quarantine: timedelta = QUARANTINE,
) -> dict[str, XidFault]:
    """The faults by card, with new events and without those that are over."""
    noted = _live(faults, now, quarantine)
    for event in events:
        if not counts(event.xid):
            continue
        before = noted.get(event.card, XidFault((), event.at))
        xids = before.xids
        if event.xid not in xids and len(xids) < _MOST_XIDS:
            xids += (event.xid,)
        noted[event.card] = XidFault(xids, max(before.at, event.at))
    return _live(noted, now, quarantine)


def _live(
    faults: Mapping[str, XidFault], now: datetime, quarantine: timedelta
) -> dict[str, XidFault]:
    # a clock that was set back must not keep a card out for longer
    timely = {card: replace(fault, at=min(fault.at, now)) for card, fault in faults.items()}
    return {card: fault for card, fault in timely.items() if fault.at + quarantine > now}


def assess(
    devices: Sequence[Device],
    faults: Mapping[str, XidFault],
    now: datetime,
    quarantine: timedelta = QUARANTINE,
) -> tuple[Device, ...]:
    """The devices with what the faults of their cards say of them."""
    live = _live(faults, now, quarantine)
    return tuple(_assessed(device, live) for device in devices)


def _assessed(device: Device, faults: Mapping[str, XidFault]) -> Device:
    fault = faults.get(device.parent or device.uuid) or faults.get(ANY_CARD)
    if fault is None:
        return device
    text = _describe(fault)
    if not device.reason or device.healthy:
        return replace(device, healthy=False, reason=text)
    if text in device.reason:
        return device
    return replace(device, reason=f"{device.reason}; {text}")


def _describe(fault: XidFault) -> str:
    """The first XID is most often the cause of the others."""
    first, *later = fault.xids
    then = f" Then Xid {', '.join(map(str, later))}." if later else ""
    return f"{explain(first)}{then} Last seen {fault.at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC."


def to_text(faults: Mapping[str, XidFault]) -> str:
    """JSON, for the ledger to keep over a restart."""
    return json.dumps(
        {card: [list(fault.xids), fault.at.isoformat()] for card, fault in faults.items()},
        sort_keys=True,
    )


def from_text(text: str) -> dict[str, XidFault]:
    """The inverse of to_text; of "" nothing. Raises ValueError on anything else."""
    if not text:
        return {}
    try:
        return {
            str(card): XidFault(tuple(int(xid) for xid in xids), _aware(at))
            for card, (xids, at) in json.loads(text).items()
            if xids
        }
    except (AttributeError, TypeError) as error:
        raise ValueError(f"not a list of faults: {error}") from error


def _aware(text: str) -> datetime:
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError(f"{text} has no time zone")
    return at
