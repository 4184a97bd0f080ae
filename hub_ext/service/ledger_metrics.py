"""What the ledger, the loops and the last inventory say now, as gauges. Pure.

Guarantees: labels come from closed lists, or are devices of this hub; no user, no server and no
text that anybody chose. A state that nobody is in is there as 0; what is not known is left out.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily

from ..ledger.figures import Figures
from ..models import (
    Cordon,
    DeviceRecord,
    DeviceState,
    GroupAction,
    LeaseState,
    OperationKind,
    Snapshot,
)
from ..verdicts import Verdict, Word
from .counters import OTHER
from .device_samples import Sample

PARTS = ("ledger", "engine", "inventory", "xids")


@dataclass(frozen=True, slots=True)
class Now:
    """What the service knows beside the ledger.

    well: of PARTS; samples: of devices that are seen now; codes: all that GPU doctor has.
    """

    at: datetime
    well: Mapping[str, bool]
    version: str
    inventory_at: datetime | None
    samples: Mapping[str, Sample]
    codes: Collection[str]


def families(now: Now, figures: Figures | None) -> Iterator[Metric]:
    """All gauges; without `figures` (the ledger is silent) those that need none."""
    yield _one(
        "gpucamp_build_info", "The version that runs; always 1.", {(now.version,): 1}, "version"
    )
    yield _one(
        "gpucamp_part_up",
        "1 if a part that the service needs answered last: ledger, engine, inventory, xids.",
        {(part,): now.well[part] for part in PARTS},
        "part",
    )
    if now.inventory_at is not None:
        yield _one(
            "gpucamp_inventory_last_success_timestamp_seconds",
            "When devices were last looked at with success, in seconds since 1970.",
            {(): now.inventory_at.timestamp()},
        )
    yield from _used(now.samples)
    if figures is not None:
        yield from _devices(figures.snapshot.devices)
        yield from _leases_and_line(figures.snapshot, now.at)
        yield from _doctor(figures.verdicts, now.codes)
        under_way = Tally(each.kind for each in figures.operations)
        yield _one(
            "gpucamp_resets_in_progress",
            "Resets and undos under way, by kind.",
            {(kind.value,): under_way[kind] for kind in OperationKind},
            "kind",
        )
        yield _one(
            "gpucamp_group_operations_in_progress",
            "Groups whose members are all being started, stopped or reset, by which.",
            {(action.value,): figures.groups.get(action, 0) for action in GroupAction},
            "action",
        )
        yield _one(
            "gpucamp_group_members_in_progress",
            "Members of such groups who have no result yet, by the same.",
            {(action.value,): figures.members.get(action, 0) for action in GroupAction},
            "action",
        )
        yield _one("gpucamp_image_pulls_in_progress", "Images being pulled.", {(): figures.pulls})


def _used(samples: Mapping[str, Sample]) -> Iterator[Metric]:
    yield _one(
        "gpucamp_device_utilization_ratio",
        "How much of the last moment a device computed, 0 to 1.",
        {
            (uuid,): each.utilization_percent / 100
            for uuid, each in samples.items()
            if each.utilization_percent is not None
        },
        "device",
    )
    yield _one(
        "gpucamp_device_memory_used_bytes",
        "Memory of a device that is in use.",
        {
            (uuid,): each.memory_used_bytes
            for uuid, each in samples.items()
            if each.memory_used_bytes is not None
        },
        "device",
    )


def _devices(records: Iterable[DeviceRecord]) -> Iterator[Metric]:
    known = {each.device.uuid: each for each in records}
    yield _one(
        "gpucamp_device_info",
        "A device with its name and pool; always 1.",
        {
            (uuid, each.device.name, each.device.pool, str(each.device.simulated).lower()): 1
            for uuid, each in known.items()
        },
        *("device", "name", "pool", "simulated"),
    )
    yield _one(
        "gpucamp_device_state",
        "1 for the state that the last inventory found a device in, 0 for the others.",
        {
            (uuid, state.value): each.state is state
            for uuid, each in known.items()
            for state in DeviceState
        },
        *("device", "state"),
    )
    yield _one(
        "gpucamp_device_cordoned",
        "1 if an admin cordoned or drains a device.",
        {(uuid,): each.cordon is not Cordon.NONE for uuid, each in known.items()},
        "device",
    )
    yield _one(
        "gpucamp_device_memory_bytes",
        "Memory that a device has.",
        {(uuid,): each.device.memory_bytes for uuid, each in known.items()},
        "device",
    )
    yield _one(
        "gpucamp_device_slots",
        "How many leases a device can have at a time.",
        {(uuid,): each.device.slots for uuid, each in known.items()},
        "device",
    )
    yield _one(
        "gpucamp_device_slots_leased",
        "How many leases a device has.",
        {(uuid,): len(each.lease_ids) for uuid, each in known.items()},
        "device",
    )


def _leases_and_line(snapshot: Snapshot, at: datetime) -> Iterator[Metric]:
    live = Tally(lease.state for lease in snapshot.leases)
    yield _one(
        "gpucamp_leases",
        "Leases that have not ended, by state.",
        {(state.value,): live[state] for state in LeaseState if state is not LeaseState.ENDED},
        "state",
    )
    yield _one(
        "gpucamp_leases_idle",
        "Leases whose devices do nothing.",
        {(): sum(lease.idle_since is not None for lease in snapshot.leases)},
    )
    yield _one("gpucamp_queue_entries", "Servers in line.", {(): len(snapshot.queue)})
    yield _one(
        "gpucamp_queue_devices_wanted",
        "Devices, or slots of shared ones, that those in line ask for.",
        {(): sum(entry.request.gpus for entry in snapshot.queue)},
    )
    waits = [(at - entry.enqueued_at).total_seconds() for entry in snapshot.queue]
    yield _one(
        "gpucamp_queue_oldest_wait_seconds",
        "How long whoever is in line longest has waited; 0 if nobody is.",
        {(): max(0.0, *waits, 0.0)},
    )


def _doctor(verdicts: Iterable[Verdict], codes: Collection[str]) -> Iterator[Metric]:
    found = tuple(verdicts)
    words = Tally(each.word for each in found)
    yield _one(
        "gpucamp_doctor_verdicts",
        "Servers with a lease, by the last verdict of GPU doctor about them under that lease.",
        {(word.value,): words[word] for word in Word},
        "verdict",
    )
    # a server tells its own findings, so it could make codes up
    seen = Tally(
        code
        for each in found
        for code in {code if code in codes else OTHER for code, _severity in each.findings}
    )
    yield _one(
        "gpucamp_doctor_findings",
        "Servers with a lease whose last verdict has a finding, by its code; other: unknown codes.",
        {(code,): seen[code] for code in (*sorted(codes), OTHER)},
        "code",
    )


def _one(
    name: str, help_: str, values: Mapping[tuple[str, ...], float], *labels: str
) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, help_, labels=labels)
    for of, value in values.items():
        family.add_metric(of, float(value))
    return family
