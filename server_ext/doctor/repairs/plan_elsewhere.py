"""Plans that lead elsewhere: to a new server, a reset, or the list of kernels. Pure.

Guarantees: such a plan has no steps; of the resets it names the mildest that mends it: what is
wrong in `~/.venv` goes with what was installed, and settings, caches and DDP runs stay; none is
offered for a kernel of the user's own, which it would not mend.
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
        "packages",
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
    if kind == "packages" and reading.is_users_own_kernel(facts):
        return None  # it would lose packages of an environment that is well, and mend nothing
    if kind == "restart":
        return Repair(
            kind,
            says=(N_("Your server is stopped and started again: a new container gets its GPU."),),
            loses=(N_("Kernels and runs end. Save your notebooks first."),),
            undo=(N_("Your environment and your files stay as they are."),),
        )
    if kind == "packages":
        return Repair(
            kind,
            says=(N_("What you installed is removed: the packages are the image's again."),),
            loses=(N_("Packages that you installed, and variables in the memory of kernels."),),
            undo=(
                N_(
                    "You can install them again: `gpucamp-env freeze` writes a list first. Your "
                    "files, settings and DDP runs stay."
                ),
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
