"""What practice devices seem to do: derived from how busy the servers are that hold them.

Guarantees: only simulated devices of which nothing is told get values, and only for what pages and
metrics show: nothing is decided by them (no device counts as idle for them). A server that cannot
be looked at leaves its devices unknown.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from ..inventory.practice_load import Load, PracticeLoad
from ..ledger import Ledger
from ..models import Device, DeviceDetail
from ..reconcile import ContainerFact

IDLE_CORES = 0.05  # a JupyterLab that nobody uses


class PracticeUse:
    """Fills in, look by look. For one thread at a time."""

    def __init__(self, ledger: Ledger, load: PracticeLoad | None = None) -> None:
        self._ledger = ledger
        self._load = load or PracticeLoad()

    def shown(
        self, devices: Sequence[Device], containers: Iterable[ContainerFact]
    ) -> tuple[Device, ...]:
        """The devices as they are to be shown. Blocks; raises LedgerUnavailable."""
        if not any(_is_silent(device) for device in devices):
            return tuple(devices)
        leases = {lease.id: lease.device_uuids for lease in self._ledger.leases()}
        of = {each.id: leases.get(each.lease_id, ()) for each in containers if each.running}
        loads = self._load.look([each for each, uuids in of.items() if uuids])
        held = {uuid for uuids in leases.values() for uuid in uuids}
        use = use_of(of, loads)
        free = Load(0.0, 0)
        return tuple(
            _with(device, use.get(device.uuid) if device.uuid in held else free)
            if _is_silent(device)
            else device
            for device in devices
        )


def use_of(of: Mapping[str, Sequence[str]], loads: Mapping[str, Load]) -> dict[str, Load]:
    """By device, what the servers do that hold it; a server's work is shared by its devices.

    `of`: the devices of each container.
    """
    found: dict[str, Load] = {}
    for container, load in loads.items():
        uuids = of[container]
        for uuid in uuids:
            known = found.get(uuid, Load(0.0, 0))
            found[uuid] = Load(
                known.cores + load.cores / len(uuids),
                known.memory_bytes + load.memory_bytes // len(uuids),
            )
    return found


def _is_silent(device: Device) -> bool:
    return device.simulated and device.utilization_percent is None


def _with(device: Device, load: Load | None) -> Device:
    """One core at work is a device at full use."""
    if load is None:
        return device
    detail = device.detail or DeviceDetail()
    if detail.memory_used_bytes is None:
        detail = replace(detail, memory_used_bytes=min(load.memory_bytes, device.memory_bytes))
    busy = load.cores if load.cores >= IDLE_CORES else 0.0
    return replace(device, utilization_percent=min(100, round(100 * busy)), detail=detail)
