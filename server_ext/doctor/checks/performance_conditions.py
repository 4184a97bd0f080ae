"""Whether the measurement went as it should: the GPU was free and survived, nothing held the server
back, and it ran to its end. Pure.

Guarantees: none of the server's own limits is worse than advice.
"""

from __future__ import annotations

from collections.abc import Iterator

from ...i18n import N_
from ..facts import Facts, text_of
from ..findings import Code, Finding, check
from . import reading
from .performance_reading import devices, is_busy, label, number_of

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

# readings of /proc/pressure-like files, in % of the last ten seconds
_HIGH_PRESSURE = 10.0
_MUCH_THROTTLED = 0.25


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


def throttled_share(facts: Facts) -> float:
    """Of the time, how long the CPU limit made it wait; 0 where that is little."""
    share = facts.number("performance", "cpu", "throttled_share") or 0
    return min(1.0, share) if share >= _MUCH_THROTTLED else 0.0


def memory_pressure(facts: Facts) -> float:
    """% of the last seconds in which something waited for memory; 0 where that is little."""
    pressure = facts.number("performance", "cpu", "memory_pressure") or 0
    return min(100.0, pressure) if pressure >= _HIGH_PRESSURE else 0.0


@check("performance", ("performance",), (THROTTLED, PRESSURE))
def server_is_not_held_back(facts: Facts) -> Iterator[Finding]:
    """The server's own limits do not slow down what it does."""
    share = throttled_share(facts)
    if share:
        threads = facts.integer("performance", "cpu", "threads")
        quota = facts.number("performance", "cpu", "quota")
        line = f"{threads} threads, CPU limit {quota}"
        yield Finding(THROTTLED, (line,), {"share": f"{share * 100:.0f}"})
    pressure = memory_pressure(facts)
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


CHECKS = (
    gpus_were_free,
    gpus_survived,
    server_is_not_held_back,
    measurement_is_complete,
)
