"""What each device did over the last ten minutes: utilisation and memory, for sparklines. Pure.

Guarantees:
- One sample for each step of the clock (5 s) and device, the last one of the step: however often
  devices are looked at, a device keeps at most 121 samples. A device that has not been seen for ten
  minutes is forgotten, so the whole is bounded by the hardware (64 devices: about 1 MB).
- What was not told stays unknown (None): neither a gap nor a device that is silent becomes 0.
- A clock that was set back loses samples of the time that comes again, and mixes nothing.

In memory only: a service that was restarted begins anew. For one thread, that of the event loop.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from ..models import EPOCH, Device

STEP = timedelta(seconds=5)
WINDOW = timedelta(minutes=10)
STEPS = WINDOW // STEP


@dataclass(frozen=True, slots=True)
class Sample:
    """One look at a device. None: it was not told."""

    at: datetime
    utilization_percent: int | None
    memory_used_bytes: int | None


@dataclass(frozen=True, slots=True)
class Series:
    """A device's samples on a grid of STEPS equal steps that ends with the step of `until`.

    All series of one moment have the same length and fit below each other; None is a gap.
    """

    until: datetime
    step_seconds: float
    utilization_percent: tuple[int | None, ...]
    memory_used_bytes: tuple[int | None, ...]


class DeviceSamples:
    """The samples of all devices, by UUID."""

    def __init__(self) -> None:
        self._kept: dict[str, deque[Sample]] = {}

    def add(self, devices: Iterable[Device], at: datetime) -> None:
        """Note what an inventory found at a time."""
        for device in devices:
            kept = self._kept.setdefault(device.uuid, deque())
            while kept and _step(kept[-1].at) >= _step(at):
                kept.pop()
            detail = device.detail
            used = None if detail is None else detail.memory_used_bytes
            kept.append(Sample(at, device.utilization_percent, used))
        self._forget(at)

    def of(self, uuid: str) -> tuple[Sample, ...]:
        """A device's samples, oldest first; none if it was not seen."""
        return tuple(self._kept.get(uuid, ()))

    def latest(self, uuid: str, now: datetime) -> Sample | None:
        """The last sample, unless it is older than three steps (the device is not seen now)."""
        kept = self._kept.get(uuid)
        return kept[-1] if kept and now - kept[-1].at <= 3 * STEP else None

    def all_latest(self, now: datetime) -> dict[str, Sample]:
        """The same of all devices that are seen now, by UUID."""
        found = {uuid: self.latest(uuid, now) for uuid in self._kept}
        return {uuid: sample for uuid, sample in found.items() if sample is not None}

    def series(self, uuid: str, now: datetime) -> Series:
        """A device's last ten minutes; nothing but gaps if it was not seen."""
        utilization: list[int | None] = [None] * STEPS
        memory: list[int | None] = [None] * STEPS
        last = _step(now)
        for sample in self._kept.get(uuid, ()):
            place = STEPS - 1 - (last - _step(sample.at))
            if 0 <= place < STEPS:
                utilization[place] = sample.utilization_percent
                memory[place] = sample.memory_used_bytes
        return Series(now, STEP.total_seconds(), tuple(utilization), tuple(memory))

    def _forget(self, now: datetime) -> None:
        for uuid, kept in list(self._kept.items()):
            while kept and now - kept[0].at > WINDOW:
                kept.popleft()
            if not kept:
                del self._kept[uuid]


def _step(at: datetime) -> int:
    return (at - EPOCH) // STEP
