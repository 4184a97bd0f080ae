"""Which package of the environment keeps a module from being imported.

Guarantees: pure. `suspects` orders what to try; examination.py tries each by importing without it, so what
`culprits_found` names is proved, not guessed.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from ..facts import Facts, text_of
from . import reading

MOST_SUSPECTS = 8


@dataclass(frozen=True)
class Suspect:
    """Something in front of the base. version: "" for modules that no package owns."""

    name: str
    version: str
    modules: tuple[str, ...]
    directory: str


def suspects(facts: Facts, probe: str) -> tuple[Suspect, ...]:
    """What could break the import that `probe` tried, likeliest first."""
    named = text_of(facts.mapping(probe, "error"), "name").split(".")[0]
    touched = [text_of(facts.mapping(probe, "error"), "path")]
    touched += reversed(facts.texts(probe, "error", "frames"))
    ranked: list[tuple[int, int, Suspect]] = []
    for order, suspect in enumerate(_in_front_of_base(facts)):
        rank = _rank(suspect, named, touched)
        shadows = suspect.version and reading.locked(facts, suspect.name) is not None
        if rank is None and shadows:
            rank = 1000
        if rank is not None:
            ranked.append((rank, order, suspect))
    ranked.sort(key=lambda item: item[:2])
    return tuple(suspect for _rank_, _order, suspect in ranked[:MOST_SUSPECTS])


def culprits_found(facts: Facts, probe: str) -> tuple[Suspect, ...]:
    """What was proved to be in the way (more than one: only together)."""
    return tuple(
        Suspect(text_of(item, "name"), text_of(item, "version"), (), text_of(item, "directory"))
        for item in facts.objects(probe + "_culprit", "culprits")
        if text_of(item, "name")
    )


def _in_front_of_base(facts: Facts) -> list[Suspect]:
    found = [
        Suspect(item.spelled, item.version, item.modules, item.directory)
        for item in reading.distributions(facts)
        if not item.in_base and item.modules
    ]
    for folder in facts.objects("packages", "directories"):
        strays = folder.get("strays")
        for module in strays if isinstance(strays, list) else ():
            if isinstance(module, str):
                found.append(Suspect(module, "", (module,), text_of(folder, "directory")))
    return found


def _rank(suspect: Suspect, named: str, touched: list[str]) -> int | None:
    """0: the error names it; else how far its files are from the innermost frame; None: not seen."""
    if named and named in suspect.modules:
        return 0
    for distance, path in enumerate(touched):
        if path and _owns(suspect, path):
            return 1 + distance
    return None


def _owns(suspect: Suspect, path: str) -> bool:
    prefix = os.path.join(suspect.directory, "")
    if not path.startswith(prefix):
        return False
    top = path[len(prefix) :].split("/")[0].partition(".")[0]
    return top in suspect.modules


def describe(suspect: Suspect) -> Mapping[str, object]:
    """As the culprit pseudo-probe keeps it."""
    return {
        "name": suspect.name,
        "version": suspect.version,
        "directory": suspect.directory,
        "modules": list(suspect.modules),
    }
