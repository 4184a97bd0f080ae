"""Whether copies between a GPU and the server's memory go at the speed of its PCIe link. Pure.

Guarantees: a link's own account is believed only where no more went through it than it could carry;
copies that are slow while the server itself was held back are not blamed on it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ...i18n import N_
from ..facts import Facts, integer_of, text_of
from ..findings import Code, Finding, check
from ..performance import table
from .performance_conditions import memory_pressure, throttled_share
from .performance_reading import LINK_COPIES, amount, below_the_mark, devices, figures_of, label

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
        fastest = max((figures.get(name, 0.0) for name in LINK_COPIES), default=0.0)
        peak_now, peak_most = table.peak_of_link(*now), table.peak_of_link(*most)
        # its own account is not believed when more went through it than it could carry
        if peak_now and peak_most and peak_now < peak_most and 0 < fastest <= peak_now:
            params = {"device": label(device), "now": _named(*now), "most": _named(*most)}
            seen = (
                f"{name}: {amount(name, figures[name])}" for name in LINK_COPIES if name in figures
            )
            yield Finding(LINK, (f"{label(device)}: {params['now']}", *seen), params)
            continue
        share, lines = below_the_mark(device, LINK_COPIES)
        # a CPU that is held back, or memory that is short, is told by a finding of its own
        if lines and not throttled_share(facts) and not memory_pressure(facts):
            yield Finding(COPIES, lines, {"device": label(device), "share": str(share)})


def _named(generation: int | None, width: int | None) -> str:
    return f"gen {generation} ×{width}"


CHECKS = (links_are_whole,)
