"""What a card says of its memory, and into what it is divided. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ...i18n import N_
from ..facts import Facts, integer_of, text_of
from ..findings import Code, Finding, check
from . import reading

DAMAGED = Code(
    "GC154",
    "nvml",
    "blocker",
    "instructor",
    N_("The GPU's memory is damaged: {what}."),
    N_("Save your work and tell your instructor: the GPU must be taken out of use and reset."),
)
SLICES = Code(
    "GC155",
    "nvml",
    "advice",
    "you",
    N_("This server has {count} MIG instances; one program can use only one of them."),
    N_("Give each program one instance: CUDA_VISIBLE_DEVICES=MIG-…, as the evidence lists them."),
)
NO_SLICE = Code(
    "GC156",
    "nvml",
    "blocker",
    "instructor",
    N_("The GPU is in MIG mode, but none of its instances is in this container."),
    N_(
        "Restart the server; if it stays so, tell your instructor: an instance must be given to it."
    ),
)


@check("nvml", ("nvml", "environment"), (DAMAGED,))
def memory_is_sound(facts: Facts) -> Iterator[Finding]:
    """No card has uncorrectable errors in its memory, or waits to be reset because of them."""
    reading.require(facts, "nvml", "count")
    if reading.is_practice(facts):
        return
    for device in reading.nvml_devices(facts):
        health = device.get("memory_health")
        health = health if isinstance(health, Mapping) else {}
        rows = health.get("remapped_rows")
        rows = rows if isinstance(rows, Mapping) else {}
        errors = integer_of(health, "uncorrected")
        what = []
        if rows.get("failure") is True:
            what.append("a row could not be remapped")
        if rows.get("pending") is True:
            what.append("rows wait to be remapped at the next reset")
        if errors:
            what.append(f"{errors} uncorrectable errors since the driver was loaded")
        if what:
            evidence = (text_of(device, "uuid"), *what)
            yield Finding(DAMAGED, evidence, {"what": "; ".join(what)})


@check("nvml", ("nvml", "environment"), (SLICES, NO_SLICE))
def slices_are_known(facts: Facts) -> Iterator[Finding]:
    """A card in MIG mode has an instance here, and not more than a program can use."""
    reading.require(facts, "nvml", "count")
    instances: list[str] = []
    for device in reading.nvml_devices(facts):
        mig = device.get("mig")
        if not isinstance(mig, Mapping) or mig.get("enabled") is not True:
            continue
        here = reading.slices(device)
        if not here:
            yield Finding(NO_SLICE, (f"{text_of(device, 'uuid')}: MIG mode, no instance",))
        instances += here
    value = reading.variable(facts, "CUDA_VISIBLE_DEVICES")
    if len(instances) > 1 and (value is None or "," in value):
        yield Finding(SLICES, tuple(instances[:16]), {"count": str(len(instances))})


CHECKS = (memory_is_sound, slices_are_known)
