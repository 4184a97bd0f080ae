"""Whether GPUs compute as fast as others of their model. Pure.

Guarantees: where a cause was seen under load (heat, power) it is named instead of the slowness.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ...i18n import N_
from ..facts import Facts
from ..findings import Code, Finding, check
from .performance_reading import below_the_mark, devices, label, number_of

SLOW = Code(
    "GC601",
    "performance",
    "degraded",
    "instructor",
    N_("{device} computes at {share} percent of what its model should reach."),
    N_(
        "Measure again; if it stays so, restart the server for another GPU, and tell your "
        "instructor."
    ),
)
HOT = Code(
    "GC602",
    "performance",
    "degraded",
    "instructor",
    N_("{device} slows down because it is too hot."),
    N_("Tell your instructor: the cooling of the host should be looked at."),
)
POWER = Code(
    "GC603",
    "performance",
    "degraded",
    "instructor",
    N_("{device} slows down because it gets too little power."),
    N_("Tell your instructor: a power limit is set, or the power supply asks the GPU to brake."),
)

# bits of NVML's clock event reasons
SW_POWER_CAP, HW_SLOWDOWN, SW_THERMAL, HW_THERMAL, POWER_BRAKE = 0x4, 0x8, 0x20, 0x40, 0x80
REASONS = {
    0x2: "application clocks are set",
    SW_POWER_CAP: "power cap",
    HW_SLOWDOWN: "hardware slowdown",
    0x10: "sync boost",
    SW_THERMAL: "thermal slowdown by the driver",
    HW_THERMAL: "thermal slowdown by the hardware",
    POWER_BRAKE: "power brake",
    0x100: "display clocks are set",
}
# at least so many readings, and this share of them, before a reason counts: one may be an accident
FEWEST_READINGS, OFTEN = 4, 0.3
# a limit below this share of the default was set by someone
LOWERED = 0.95

_COMPUTE = ("matmul-fp32", "matmul-tf32", "matmul-fp16", "matmul-bf16", "copy-d2d")


def _often(device: Mapping[str, object], *bits: int) -> bool:
    """Whether one of these reasons held the clocks down in a good part of the readings."""
    readings = number_of(device, "load", "readings") or 0
    seen = max((number_of(device, "load", "reasons", str(bit)) or 0 for bit in bits), default=0)
    return readings >= FEWEST_READINGS and seen / readings >= OFTEN


def _under_load(device: Mapping[str, object]) -> tuple[str, ...]:
    """What NVML said under load, in a line."""
    parts = [text for bit, text in REASONS.items() if _often(device, bit)]
    for key, unit in (
        ("temperature", "°C"),
        ("power", "W"),
        ("power_limit", "W"),
        ("sm_clock", "MHz"),
    ):
        value = number_of(device, "load", key)
        if value is not None:
            parts.append(f"{key.replace('_', ' ')} {value:.0f} {unit}")
    return (f"{label(device)} under load: {', '.join(parts)}",) if parts else ()


def _brakes(device: Mapping[str, object], slow: bool) -> bool:
    """Whether power holds it back: by its supply, or by a limit that someone lowered."""
    if _often(device, POWER_BRAKE):
        return True
    limit = number_of(device, "load", "power_limit")
    default = number_of(device, "load", "power_default")
    lowered = limit is not None and default is not None and limit < default * LOWERED
    return slow and lowered and _often(device, SW_POWER_CAP)


@check("performance", ("performance",), (SLOW, HOT, POWER))
def gpus_reach_their_model(facts: Facts) -> Iterator[Finding]:
    """Matrix products and memory are as fast as on other cards of the model."""
    for device in devices(facts):
        share, lines = below_the_mark(device, _COMPUTE)
        evidence = (*lines, *_under_load(device))
        params = {"device": label(device), "share": str(share)}
        hot = _often(device, SW_THERMAL, HW_THERMAL)
        if hot:
            yield Finding(HOT, evidence, params)
        if _brakes(device, bool(lines)):
            yield Finding(POWER, evidence, params)
        elif lines and not hot:
            yield Finding(SLOW, evidence, params)


CHECKS = (gpus_reach_their_model,)
