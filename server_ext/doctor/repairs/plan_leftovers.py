"""Plans that clear away what programs left behind: ranks, shared memory, pip's cache. Pure.

Guarantees: only what the examination saw that nothing uses; pip's cache only where it is on the
disk that is full.
"""

from __future__ import annotations

from ...i18n import N_
from ..facts import Facts, integer_of, text_of
from ..findings import Finding
from .plain_names import PACKAGE_OR_FILE
from .steps import DeleteShared, EndRanks, Repair, Run

_RANKS, _SHARED = "GC411", "GC403"
CACHE_CODES = ("GC405", "GC406", "GC407")
CODES = frozenset((_RANKS, _SHARED, *CACHE_CODES))

_FOR_GOOD = N_("This cannot be undone.")


def end_ranks(code: str, facts: Facts) -> Repair | None:
    """Ends ranks without their torchrun."""
    ranks = {
        pid: text_of(item, "command")
        for item in facts.objects("resources", "orphan_ranks")
        if (pid := integer_of(item, "pid")) is not None
    }
    if code != _RANKS or not ranks:
        return None
    return Repair(
        "here",
        (EndRanks(ranks),),
        (N_("Ends the processes of a run whose torchrun has ended: nothing waits for them."),),
        (N_("What they had not saved is lost."),),
        (_FOR_GOOD,),
    )


def delete_shared(code: str, facts: Facts) -> Repair | None:
    """Deletes files in shared memory that no program uses."""
    found = facts.objects("resources", "shm_leftovers")
    names = tuple(
        name for item in found if PACKAGE_OR_FILE.fullmatch(name := text_of(item, "name"))
    )
    if code != _SHARED or not names:
        return None
    return Repair(
        "here",
        (DeleteShared(names),),
        (N_("Deletes files in shared memory that no program uses any more."),),
        (N_("Nothing that a running program uses."),),
        (_FOR_GOOD,),
    )


def purge_cache(finding: Finding, facts: Facts, pip: tuple[str, ...]) -> Repair | None:
    """Only where the full disk is the home's: pip keeps its cache there."""
    home = facts.integer("resources", "filesystems", "home", "device")
    full = (
        facts.integer("resources", "filesystems", name, "device")
        for name in ("work", "home", "tmp")
        if facts.text("resources", "filesystems", name, "path") == finding.params.get("path")
    )
    if finding.code.code not in CACHE_CODES or home is None or home not in full:
        return None
    return Repair(
        "here",
        (Run((*pip, "cache", "purge")),),
        (N_("Empties pip's cache in your home. If that is not enough, delete what you can."),),
        (N_("Packages are downloaded again when you install them again."),),
        (_FOR_GOOD,),
    )
