"""Why a fact was not told as its probe always does.

Guarantees: pure; `problem` raises for no value.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from .conditions import WHEN, Condition, Value
from .declared import SHAPES
from .kinds import ABSENT, KINDS

_MOST = 300  # characters of an error that are told


@dataclass
class _Fact:
    kinds: tuple[str, ...] = tuple(KINDS)
    when: tuple[Condition, ...] = ()
    beneath: dict[str, _Fact] = field(default_factory=dict)

    def fits(self, found: object) -> bool:
        """Whether a value is of one of the kinds."""
        for kind in self.kinds:  # no generator: this is asked of each of thousands of packages
            if KINDS[kind](found):
                return True
        return False


def _tree(probe: str) -> _Fact:
    root = _Fact()
    for path, kinds in SHAPES[probe].items():
        fact = root
        for key in path.split("."):
            fact = fact.beneath.setdefault(key, _Fact())
        fact.kinds, fact.when = tuple(kinds.split("|")), WHEN.get(probe, {}).get(path, ())
    return root


_TREES: Mapping[str, _Fact] = {probe: _tree(probe) for probe in SHAPES}


def problem(probe: str, value: Value, path: tuple[str, ...]) -> str:
    """Why a fact, or one of those in it, was not told as its probe always does; for people, in
    English; "" if nothing is wrong. value: all that the probe told.
    """
    fact = _TREES.get(probe)
    if fact is None or value.get("asked") is False or not path:
        return ""
    found: object = value
    for depth, key in enumerate(path, 1):
        one = fact.beneath.get(key) or fact.beneath.get("*")
        if one is None or not all(may(value) for may in one.when):
            return ""
        if fact.beneath.get(key) is None and not (isinstance(found, Mapping) and key in found):
            return ""  # one of many, which need not be there
        found = found.get(key, ABSENT) if isinstance(found, Mapping) else ABSENT
        fact = one
        if wrong := _mismatch(fact, found, path[:depth]):
            return wrong
        if found is ABSENT or found is None or KINDS["error"](found):
            return ""
    return next(_wrong_in(fact, found, path, value), "")


def _wrong_in(fact: _Fact, found: object, path: tuple[str, ...], value: Value) -> Iterator[str]:
    """What is wrong with the facts beneath one."""
    for key, one in fact.beneath.items():
        if one.when and not all(may(value) for may in one.when):
            continue
        for name, item in _entries(key, found, fact):
            if not one.fits(item):
                yield _mismatch(one, item, (*path, name))
            elif one.beneath and not (item is None or item is ABSENT or KINDS["error"](item)):
                yield from _wrong_in(one, item, (*path, name), value)


def _entries(key: str, found: object, fact: _Fact) -> Iterator[tuple[str, object]]:
    if isinstance(found, list):
        if key == "*":
            yield from ((str(number), item) for number, item in enumerate(found))
    elif isinstance(found, Mapping):
        if key != "*":
            yield key, found.get(key, ABSENT)
        else:
            yield from ((str(n), item) for n, item in found.items() if str(n) not in fact.beneath)


def _mismatch(fact: _Fact, found: object, path: tuple[str, ...]) -> str:
    if fact.fits(found):
        return ""
    named = ".".join(path)
    if found is ABSENT or found is None:
        return f"no {named}"
    if isinstance(found, Mapping) and "error" in found:
        return f"{named}: {' '.join(str(found['error']).split())[:_MOST]}"
    if fact.kinds == ("absent",):
        return f"{named}: {' '.join(str(found).split())[:_MOST]}"
    return f"{named} is no {' or '.join(fact.kinds)}"
