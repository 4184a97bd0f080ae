"""Plans that lead elsewhere: to a new server, a reset, or the list of kernels. Pure.

Guarantees: such a plan has no steps; no reset is offered for a kernel of the user's own, which it
would not mend.
"""

from __future__ import annotations

from collections.abc import Mapping

from ...i18n import N_
from ..checks import reading
from ..facts import Facts
from .steps import Kind, Repair

_KINDS: Mapping[str, Kind] = {
    **dict.fromkeys(
        ("GC202", "GC203", "GC204", "GC208", "GC312", "GC313", "GC314", "GC315", "GC316", "GC317"),
        "reset",
    ),
    **dict.fromkeys(
        (
            "GC102",
            "GC103",
            "GC105",
            "GC106",
            "GC123",
            "GC126",
            "GC133",
            "GC139",
            "GC141",
            "GC147",
            "GC149",
            "GC151",
            "GC161",
            "GC162",
            "GC169",
            "GC402",
            "GC404",
        ),
        "restart",
    ),
    **dict.fromkeys(("GC144", "GC148", "GC731", "GC732", "GC903"), "kernels"),
}
CODES = frozenset(_KINDS)


def lead(code: str, facts: Facts) -> Repair | None:
    """Where to go for what the doctor cannot mend itself."""
    kind = _KINDS.get(code)
    if kind == "reset" and reading.is_users_own_kernel(facts):
        return None  # it would lose an environment that is well, and mend nothing
    if kind == "restart":
        return Repair(
            kind,
            says=(N_("Your server is stopped and started again: a new container gets its GPU."),),
            loses=(N_("Kernels and runs end. Save your notebooks first."),),
            undo=(N_("Your environment and your files stay as they are."),),
        )
    if kind == "reset":
        return Repair(
            kind,
            says=(N_("You get a fresh environment, as the image has it."),),
            loses=(N_("Packages, settings and caches of your environment, until you undo it."),),
            undo=(
                N_("“Undo last reset” brings the old environment back. Your work folder stays."),
            ),
        )
    if kind == "kernels":
        return Repair(
            kind,
            says=(N_("Kernels that you choose are shut down, so that they free what they hold."),),
            loses=(N_("Their variables are lost. Notebooks and files stay."),),
            undo=(N_("This cannot be undone; you can run the notebooks again."),),
        )
    return None
