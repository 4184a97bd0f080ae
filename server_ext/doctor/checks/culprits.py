"""Which package of the environment keeps a module from being imported.

Guarantees: pure. `suspects` orders what to try; examination.py tries each by importing without
it, so what `culprits_found` names is proved, not guessed.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from ..facts import Facts, text_of
from . import reading

# how many are tried one by one before the rest is halved
LIKELY = 8


@dataclass(frozen=True)
class Suspect:
    """Something in front of the base. version: "" for modules that no package owns."""

    name: str
    version: str
    modules: tuple[str, ...]
    directory: str


def suspects(facts: Facts, probe: str) -> tuple[Suspect, ...]:
    """Everything that could break the import that `probe` tried, likeliest first: what the error
    names, what its traceback went through (innermost first), what replaces something of the
    base, the rest.
    """
    named = text_of(facts.mapping(probe, "error"), "name").split(".")[0]
    touched = [text_of(facts.mapping(probe, "error"), "path")]
    touched += reversed(facts.texts(probe, "error", "frames"))

    def rank(suspect: Suspect) -> int:
        seen = _rank(suspect, named, touched)
        if seen is not None:
            return seen
        shadows = suspect.version and reading.locked(facts, suspect.name) is not None
        return 1000 if shadows else 2000

    ordered = tuple(sorted(_in_front_of_base(facts), key=rank))
    if text_of(facts.mapping(probe, "error"), "type") == "ModuleNotFoundError" and named:
        asked = (facts.text(probe, "module") or "").split(".")[0]
        if named == asked and not any(named in suspect.modules for suspect in ordered):
            return ()  # it is not installed; nothing is in its way
    return ordered


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
    """0: the error names it; else how far its files are from the innermost frame; None: unseen."""
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
