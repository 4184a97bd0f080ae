"""Can a running kernel still use its GPU, and has it memory? Pure.

Guarantees: what the kernel could not say of its torch or of a device is not taken for well.
"""

from __future__ import annotations

from collections.abc import Iterator

from ...i18n import N_
from ..facts import Facts, integer_of, text_of
from ..findings import CannotTell, Code, Finding, check
from . import reading
from .running import said, shown

CHANGED_LATE = Code(
    "GC721",
    "running",
    "degraded",
    "you",
    N_("CUDA_VISIBLE_DEVICES was changed after CUDA had started in this kernel, without effect."),
    N_("Restart the kernel, and set the variable before torch is imported."),
)
CONTEXT_LOST = Code(
    "GC722",
    "running",
    "blocker",
    "you",
    N_("After an error on the GPU, nothing more can run on it in this kernel."),
    N_(
        "Restart the kernel; to see the line at fault, set CUDA_LAUNCH_BLOCKING=1 before torch is "
        "imported."
    ),
)
RAN_OUT = Code(
    "GC723",
    "running",
    "degraded",
    "you",
    N_("This kernel ran out of GPU memory; its own tensors hold {held} of {total}."),
    N_("Use a smaller batch or model; delete tensors that you do not need, or restart the kernel."),
)
FRAGMENTED = Code(
    "GC724",
    "running",
    "degraded",
    "you",
    N_("This kernel ran out of GPU memory while {lost} of it lay in pieces too small to use."),
    N_(
        "Restart the kernel, and set PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True before torch "
        "is imported."
    ),
)
BENCHMARK = Code(
    "GC725",
    "running",
    "advice",
    "you",
    N_("This kernel has cudnn.benchmark on: each new shape of input makes a slow start."),
    N_(
        "Leave it on if all inputs have one shape; else set torch.backends.cudnn.benchmark = False."
    ),
)

LITTLE = 512 * 2**20  # bytes in small pieces that nobody misses
_NUMBERS = ("out_of_memory", "allocated", "reserved", "unusable", "total")


@check("running", ("running", "asked", "nvml"), (CHANGED_LATE,))
def visible_devices_were_set_in_time(facts: Facts) -> Iterator[Finding]:
    """CUDA sees the devices that CUDA_VISIBLE_DEVICES names."""
    if not said(facts) or not facts.flag("asked", "torch", "initialized"):
        return
    name = "CUDA_VISIBLE_DEVICES"
    now, then = facts.text("asked", "variables", name), facts.text("running", "variables", name)
    count, most = facts.integer("asked", "torch", "count"), facts.integer("nvml", "count")
    if now == then or count is None or most is None:
        return
    should = most if now is None else min(most, _named(now))
    if should != count:
        line = f"{name}: {shown(then)} at the start, {shown(now)} now; CUDA uses {count} devices"
        yield Finding(CHANGED_LATE, (line,))


def _named(value: str) -> int:
    """How many devices CUDA takes from the variable: up to the first that cannot be."""
    count = 0
    for entry in value.split(","):
        if not entry.strip() or entry.strip().startswith("-"):
            break
        count += 1
    return count


@check("running", ("running", "asked"), (CONTEXT_LOST,))
def gpu_still_works_for_it(facts: Facts) -> Iterator[Finding]:
    """No error has made the GPU useless for the rest of the kernel's life."""
    if not said(facts):
        return
    last = facts.text("asked", "last_error", "text") or ""
    lines = [text_of(item, "error") for item in facts.objects("asked", "torch", "devices")]
    lines = [f"cuda:{number}: {reading.shorten(line)}" for number, line in enumerate(lines) if line]
    if lines or "device-side assert" in last:
        kept = (f"last error: {reading.shorten(last)}",) if last else ()
        # after it, no call says anything else
        yield Finding(CONTEXT_LOST, (*lines, *kept), tells=("asked",))


@check("running", ("running", "asked"), (RAN_OUT, FRAGMENTED))
def its_memory_is_enough(facts: Facts) -> Iterator[Finding]:
    """The kernel did not run out of the GPU's memory, as far as that is its own doing."""
    if not said(facts):
        return
    settings = facts.text("asked", "variables", "PYTORCH_CUDA_ALLOC_CONF") or ""
    unread = ""
    for item in facts.objects("asked", "torch", "devices"):
        numbers = {key: integer_of(item, key) or 0 for key in _NUMBERS}
        if any(integer_of(item, key) is None for key in _NUMBERS):
            unread = text_of(item, "error") or "its memory was not told"
        total, lost = numbers["total"], numbers["unusable"]
        if not numbers["out_of_memory"] or not total:
            continue
        lines = (
            f"cuda:{item.get('index')}: out of memory {numbers['out_of_memory']} times; "
            + ", ".join(
                f"{key} {reading.gibibytes(numbers[key])}"
                for key in ("allocated", "reserved", "unusable", "total")
            ),
        )
        if lost >= max(LITTLE, total * 0.05) and "expandable_segments:True" not in settings:
            yield Finding(FRAGMENTED, lines, {"lost": reading.gibibytes(lost)})
        elif numbers["allocated"] >= total * 0.5:
            sizes = (reading.gibibytes(numbers["allocated"]), reading.gibibytes(total))
            yield Finding(RAN_OUT, lines, dict(zip(("held", "total"), sizes, strict=True)))
    if unread:
        raise CannotTell("asked", reading.shorten(unread, 120))


@check("running", ("running", "asked"), (BENCHMARK,))
def benchmark_is_off(facts: Facts) -> Iterator[Finding]:
    """cuDNN does not try all algorithms for each new shape."""
    if said(facts) and facts.flag("asked", "torch", "initialized"):
        if facts.flag("asked", "torch", "benchmark"):
            yield Finding(BENCHMARK, ("torch.backends.cudnn.benchmark = True",))


CHECKS = (
    visible_devices_were_set_in_time,
    gpu_still_works_for_it,
    its_memory_is_enough,
    benchmark_is_off,
)
