"""Which package of the environment, or which variable, keeps a module from being imported.

Guarantees: pure. `suspects` orders what to try, `blamable` says which variables; examination.py
tries each by importing without it, so what `culprits_found` and `variables_found` name is proved,
not guessed.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ..facts import Facts, text_of
from . import reading

# variables without which nothing can be tried, or that say what this server is
_KEPT = frozenset(
    "HOME HOSTNAME LOGNAME OLDPWD PATH PWD PYTHONNOUSERSITE SHELL SHLVL TERM USER _".split()
)
# what torch, Python and the dynamic linker read
_LIKELY = ("LD_", "PYTHON", "PYTORCH", "TORCH")
_KEPT_PREFIXES = ("GPUCAMP_", "JUPYTERHUB_", "NVIDIA_")

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
    if is_absent(facts, probe) and not any(named in suspect.modules for suspect in ordered):
        return ()  # it is not installed; nothing is in its way
    return ordered


def replacing(facts: Facts) -> tuple[Suspect, ...]:
    """The packages in front of the base that the base has in another version."""
    return tuple(
        Suspect(item.spelled, item.version, item.modules, item.directory)
        for item in reading.distributions(facts)
        if not item.in_base
        and item.modules
        and reading.locked(facts, item.name) not in (None, item.version)
    )


def is_absent(facts: Facts, probe: str) -> bool:
    """Whether the very module that was to be imported was not found."""
    error = facts.mapping(probe, "error")
    named = text_of(error, "name").split(".")[0]
    asked = (facts.text(probe, "module") or "").split(".")[0]
    return text_of(error, "type") == "ModuleNotFoundError" and bool(named) and named == asked


def culprits_found(facts: Facts, probe: str) -> tuple[Suspect, ...]:
    """What was proved to be in the way (more than one: only together)."""
    return culprits_in(facts.objects(probe + "_culprit", "culprits"))


def culprits_in(described: Iterable[Mapping[str, object]]) -> tuple[Suspect, ...]:
    """Culprits as `describe` put them."""
    return tuple(
        Suspect(text_of(item, "name"), text_of(item, "version"), (), text_of(item, "directory"))
        for item in described
        if text_of(item, "name")
    )


def blamable(env: Mapping[str, str]) -> tuple[str, ...]:
    """The variables that may keep a module from being imported, likeliest first."""
    names = (name for name in env if name not in _KEPT and not name.startswith(_KEPT_PREFIXES))
    return tuple(sorted(names, key=lambda name: (not name.startswith(_LIKELY), name)))


def variables_found(facts: Facts, probe: str) -> tuple[str, ...]:
    """The variables that were proved to be in the way: without them it works; or PYTHONPATH, if
    what is in the way was put there by it.
    """
    found = culprits_found(facts, probe)
    parts = (reading.variable(facts, "PYTHONPATH") or "").split(":")
    folders = {os.path.abspath(part) for part in parts if part}
    if found and all(suspect.directory in folders for suspect in found):
        return ("PYTHONPATH",)
    return facts.texts(probe + "_culprit", "variables")


def settings_of(facts: Facts, names: Iterable[str]) -> tuple[str, ...]:
    """NAME=VALUE, as far as the value may be told."""
    values = {name: reading.variable(facts, name) for name in names}
    return tuple(
        name if value is None else f"{name}={reading.shorten(value, 200)}"
        for name, value in values.items()
    )


def params_of(facts: Facts, found: tuple[Suspect, ...]) -> dict[str, str]:
    """Culprits for a sentence and for a command, and the base's versions of them."""
    bases = [reading.locked(facts, suspect.name) for suspect in found]
    return {
        "package": " ".join(suspect.name for suspect in found),
        "found": ", ".join(f"{suspect.name} {suspect.version}".strip() for suspect in found),
        "base": ", ".join(version for version in bases if version is not None) or "-",
    }


def places_of(found: tuple[Suspect, ...]) -> tuple[str, ...]:
    """Where the culprits are."""
    return tuple(
        f"{suspect.name} {suspect.version}".strip() + f" in {suspect.directory}"
        for suspect in found
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
