"""What to think of the figures that were measured. Pure; not part of an examination.

Guarantees: a figure is judged only against what its model is known to reach, and only on a GPU
that nobody else used meanwhile; where a cause was seen it is named instead of the slowness; on a
server without a GPU nothing is worse than advice.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ...i18n import N_
from ..facts import Facts, integer_of, text_of
from ..findings import Code, Finding, check
from ..performance import table
from . import reading

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
LINK = Code(
    "GC604",
    "performance",
    "degraded",
    "instructor",
    N_("The PCIe link of {device} runs at {now}, and could at {most}."),
    N_("Tell your instructor: the card may have to be seated anew, or put into another slot."),
)
COPIES = Code(
    "GC605",
    "performance",
    "degraded",
    "instructor",
    N_("Copies to or from {device} reach {share} percent of what its PCIe link allows."),
    N_("Measure again when your server is idle; if it stays so, tell your instructor."),
)
PEERS = Code(
    "GC606",
    "performance",
    "degraded",
    "you",
    N_("Your GPUs exchange data only if they do not do it directly (P2P)."),
    N_("Set NCCL_P2P_DISABLE=1 before you train; tell your instructor."),
    command="export NCCL_P2P_DISABLE=1",
)
NCCL = Code(
    "GC607",
    "performance",
    "degraded",
    "instructor",
    N_("Two of your GPUs cannot work together."),
    N_("Train on one GPU, and tell your instructor."),
)
GLOO = Code(
    "GC608",
    "performance",
    "advice",
    "you",
    N_("Two processes of this server cannot exchange data."),
    N_("Measure again; if it stays so, examine the kernel. DDP on the CPU will fail the same way."),
)
BUSY = Code(
    "GC609",
    "performance",
    "advice",
    "you",
    N_("{device} was in use: the figures are too low, and are not judged."),
    N_("Shut down your other kernels and runs, then measure again."),
)
THROTTLED = Code(
    "GC610",
    "performance",
    "advice",
    "you",
    N_("The server's CPU limit held the measurement back {share} percent of the time."),
    N_("Use no more threads and workers than the CPUs that your server has: OMP_NUM_THREADS."),
)
FAILED = Code(
    "GC611",
    "performance",
    "degraded",
    "instructor",
    N_("{device} failed while it was measured."),
    N_("Examine the kernel; if it fails again, restart the server for another GPU."),
)
INCOMPLETE = Code(
    "GC612",
    "performance",
    "advice",
    "you",
    N_("The measurement ended before it was complete."),
    N_("Examine the kernel, and measure again."),
)
PRESSURE = Code(
    "GC613",
    "performance",
    "advice",
    "you",
    N_("The server is short of memory, which slows down whatever it does."),
    N_("Shut down kernels that you do not need, then measure again."),
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
# readings of /proc/pressure-like files, in % of the last ten seconds
HIGH_PRESSURE = 10.0
MUCH_THROTTLED = 0.25

_COMPUTE = ("matmul-fp32", "matmul-tf32", "matmul-fp16", "matmul-bf16", "copy-d2d")
_LINK_COPIES = ("copy-h2d-pinned", "copy-d2h-pinned")


def devices(facts: Facts) -> tuple[Mapping[str, object], ...]:
    """The GPUs that were measured."""
    return facts.objects("performance", "devices")


def figures_of(device: Mapping[str, object]) -> dict[str, float]:
    """Figure -> value, of those that are positive numbers."""
    found = device.get("figures")
    return {
        text_of(item, "name"): value
        for item in (found if isinstance(found, list) else ())
        if isinstance(item, Mapping) and (value := number_of(item, "value")) is not None
    }


def number_of(item: Mapping[str, object], *path: str) -> float | None:
    """A number above 0 of an object, or None."""
    value: object = item
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if 0 < value < 1e30 else None


def expected(device: Mapping[str, object], figure: str) -> float | None:
    """What this figure of a device should be, or None."""
    if figure in _LINK_COPIES:
        link = device.get("link")
        if table.is_mig(text_of(device, "name")) or not isinstance(link, Mapping):
            return None  # parts of a card share its link
        return table.expected_of_link(
            integer_of(link, "max_generation"), integer_of(link, "max_width")
        )
    return table.expected(text_of(device, "name"), figure)


def is_busy(device: Mapping[str, object]) -> bool:
    """Whether someone else used it, so that its figures say little."""
    return device.get("light") is True


def label(device: Mapping[str, object]) -> str:
    """A device's name with its number, for people."""
    name = reading.shorten(text_of(device, "name") or "GPU", 80)
    return f"{name} (cuda:{integer_of(device, 'index') or 0})"


def _short(device: Mapping[str, object], names: tuple[str, ...]) -> tuple[int, tuple[str, ...]]:
    """The lowest share, in %, of what is below the mark; and a line for each such figure."""
    shares, lines = [], []
    # on a GPU that is shared others may begin at any moment
    if is_busy(device) or device.get("shared") is True:
        return 100, ()
    for name, value in figures_of(device).items():
        should = expected(device, name) if name in names else None
        if should and value < should * table.JUDGED_BELOW:
            shares.append(value / should)
            lines.append(
                f"{label(device)}: {name}: {amount(name, value)}, expected {amount(name, should)}"
            )
    return (max(1, round(min(shares) * 100)), tuple(lines)) if shares else (100, ())


def amount(figure: str, value: float) -> str:
    """A figure with its unit."""
    if "matmul" in figure:
        return f"{value / 1e12:.1f} TFLOPS" if value >= 1e12 else f"{value / 1e9:.1f} GFLOPS"
    return f"{value / 1e9:.1f} GB/s"


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
        share, lines = _short(device, _COMPUTE)
        evidence = (*lines, *_under_load(device))
        params = {"device": label(device), "share": str(share)}
        hot = _often(device, SW_THERMAL, HW_THERMAL)
        if hot:
            yield Finding(HOT, evidence, params)
        if _brakes(device, bool(lines)):
            yield Finding(POWER, evidence, params)
        elif lines and not hot:
            yield Finding(SLOW, evidence, params)


@check("performance", ("performance",), (LINK, COPIES))
def links_are_whole(facts: Facts) -> Iterator[Finding]:
    """Copies go at the speed of the slot. Without load a link rests at a lower generation, so only
    what was read during copies counts.
    """
    for device in devices(facts):
        link = device.get("link")
        if not isinstance(link, Mapping) or table.is_mig(text_of(device, "name")):
            continue
        now = (integer_of(link, "generation"), integer_of(link, "width"))
        most = (integer_of(link, "max_generation"), integer_of(link, "max_width"))
        figures = figures_of(device)
        fastest = max((figures.get(name, 0.0) for name in _LINK_COPIES), default=0.0)
        peak_now, peak_most = table.peak_of_link(*now), table.peak_of_link(*most)
        # its own account is not believed when more went through it than it could carry
        if peak_now and peak_most and peak_now < peak_most and 0 < fastest <= peak_now:
            params = {"device": label(device), "now": _link(*now), "most": _link(*most)}
            seen = (
                f"{name}: {amount(name, figures[name])}" for name in _LINK_COPIES if name in figures
            )
            yield Finding(LINK, (f"{label(device)}: {params['now']}", *seen), params)
            continue
        share, lines = _short(device, _LINK_COPIES)
        # a CPU that is held back, or memory that is short, is told by a finding of its own
        if lines and not _throttled_share(facts) and not _pressure(facts):
            yield Finding(COPIES, lines, {"device": label(device), "share": str(share)})


def _link(generation: int | None, width: int | None) -> str:
    return f"gen {generation} ×{width}"


@check("performance", ("performance",), (BUSY,))
def gpus_were_free(facts: Facts) -> Iterator[Finding]:
    """Nobody else used the GPU."""
    for device in devices(facts):
        if is_busy(device):
            used = number_of(device, "busy", "used_bytes") or 0
            load = number_of(device, "busy", "utilization") or 0
            line = f"{label(device)}: {reading.gibibytes(used)} in use, {load:.0f} % busy"
            yield Finding(BUSY, (line,), {"device": label(device)})


@check("performance", ("performance",), (FAILED,))
def gpus_survived(facts: Facts) -> Iterator[Finding]:
    """No card broke down under load."""
    for device in devices(facts):
        # torch's advice on how to look for errors of one's own code comes after the first line
        error = text_of(device, "error").strip().partition("\n")[0]
        if error:
            yield Finding(FAILED, (reading.shorten(error),), {"device": label(device)})


def _throttled_share(facts: Facts) -> float:
    """Of the time, how long the CPU limit made it wait; 0 where that is little."""
    share = facts.number("performance", "cpu", "throttled_share") or 0
    return min(1.0, share) if share >= MUCH_THROTTLED else 0.0


def _pressure(facts: Facts) -> float:
    """% of the last seconds in which something waited for memory; 0 where that is little."""
    pressure = facts.number("performance", "cpu", "memory_pressure") or 0
    return min(100.0, pressure) if pressure >= HIGH_PRESSURE else 0.0


@check("performance", ("performance",), (THROTTLED, PRESSURE))
def server_is_not_held_back(facts: Facts) -> Iterator[Finding]:
    """The server's own limits do not slow down what it does."""
    share = _throttled_share(facts)
    if share:
        threads = facts.integer("performance", "cpu", "threads")
        quota = facts.number("performance", "cpu", "quota")
        line = f"{threads} threads, CPU limit {quota}"
        yield Finding(THROTTLED, (line,), {"share": f"{share * 100:.0f}"})
    pressure = _pressure(facts)
    if pressure:
        yield Finding(PRESSURE, (f"memory pressure {pressure:.0f} % in the last ten seconds",))


@check("performance", ("performance",), (INCOMPLETE,))
def measurement_is_complete(facts: Facts) -> Iterator[Finding]:
    """It ran to its end."""
    kind = facts.text("performance", "cut_short", "kind")
    if kind:
        detail = facts.text("performance", "cut_short", "detail") or kind
        step = facts.text("performance", "step") or "start"
        stderr = facts.text("performance", "cut_short", "stderr") or ""
        line = f"{reading.shorten(detail, 120)} (during: {reading.shorten(step, 80)})"
        yield Finding(INCOMPLETE, (line, *reading.last_lines(stderr)))


@check("performance", ("all_reduce",), (PEERS, NCCL, GLOO))
def ranks_exchange_data(facts: Facts) -> Iterator[Finding]:
    """Two processes add up a tensor: by NCCL where there are two GPUs, else by gloo."""
    for attempt in (facts.mapping("all_reduce", "gloo"), facts.mapping("all_reduce", "nccl")):
        problem = text_of(attempt, "problem")
        if not problem:
            continue
        said = (reading.shorten(line) for line in reading.last_lines(text_of(attempt, "said")))
        evidence = (reading.shorten(problem), *said)
        if text_of(attempt, "backend") == "gloo":
            yield Finding(GLOO, evidence)
        elif attempt.get("works_without_p2p") is True:
            yield Finding(PEERS, evidence)
        else:
            yield Finding(NCCL, evidence)


CHECKS = (
    gpus_reach_their_model,
    links_are_whole,
    gpus_were_free,
    gpus_survived,
    server_is_not_held_back,
    measurement_is_complete,
    ranks_exchange_data,
)
