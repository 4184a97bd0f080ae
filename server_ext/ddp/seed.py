"""Which seed a run uses: from its arguments, its environment, or what it prints. Pure.

Guarantees: any text is an acceptable input; a seed is a whole number as it was written, never a
guess: where none is stated there is none. An argument counts before what is printed, because it was
asked for; what is printed counts before a variable, because a script need not read one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

ARGUMENTS, ENVIRONMENT, PRINTED = "arguments", "environment", "printed"
SOURCES = (ENVIRONMENT, PRINTED, ARGUMENTS)  # the last counts most
VARIABLES = ("PL_GLOBAL_SEED", "SEED")  # the first that is set; the former is Lightning's
HEAD_BYTES = 128 * 1024  # of a log: a seed is set before the work begins

_NUMBER = re.compile(r"[-+]?[0-9]{1,20}")
# a `+` is Hydra's, for a key that the configuration lacks
_OPTION = re.compile(r"(?:--?|\+{1,2})?([A-Za-z_][\w.-]*)(?:=(.*))?", re.DOTALL)
_NAMES = frozenset(
    {"seed", "random_seed", "manual_seed", "global_seed", "seed_everything", "rng_seed"}
)
_HEADER = re.compile(r"\[default(\d{1,5})\]:")
_SAID = re.compile(
    # `data_seed=1` and `seeds: 3` are something else
    r"""(?<![\w.-])(?:(?:random|manual|global|rng)[ _-])?seed["']?"""
    r"""(?:[ ]+(?:is[ ]+)?(?:set[ ]+)?(?:to[ ]+)?|[ ]*[:=][ ]*)([-+]?[0-9]{1,20})(?![\w/%]|\.\d)""",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Seed:
    """value: the number as it was written, without a plus; source: one of SOURCES."""

    value: str
    source: str


def asked_for(arguments: Sequence[str], environ: Mapping[str, str]) -> Seed | None:
    """What a launch states: `--seed 1`, `--seed=1`, `seed=1` (the last counts), or a variable."""
    found = None
    for index, word in enumerate(arguments):
        option = _OPTION.fullmatch(word)
        # `trainer.seed=1` is the seed of something that has a name
        if option is None or _plain(option[1].rpartition(".")[2]) not in _NAMES:
            continue
        value = option[2]
        if value is None and word.startswith("-"):
            value = arguments[index + 1] if index + 1 < len(arguments) else ""
        found = _seed(value, ARGUMENTS) or found
    if found is not None:
        return found
    for name in VARIABLES:
        if name in environ:
            return _seed(environ[name], ENVIRONMENT)
    return None


def printed(head: str) -> Seed | None:
    """What the lowest rank that states one says first. head: the beginning of a log."""
    best: tuple[int, str] | None = None
    for line in head.splitlines():
        header = _HEADER.match(line)
        if header is None or "seed" not in line.lower():
            continue  # torchrun itself sets none
        rank = int(header[1])
        if best is None or rank < best[0]:
            said = _SAID.search(_HEADER.sub("", line)[:4000])
            if said:
                best = rank, said[1]
    return None if best is None else _seed(best[1], PRINTED)


def better(one: Seed | None, other: Seed | None) -> Seed | None:
    """The one that counts more; the first of two that count alike."""
    if one is None or other is None:
        return one or other
    return other if SOURCES.index(other.source) > SOURCES.index(one.source) else one


def _plain(name: str) -> str:
    return name.lower().replace("-", "_")


def _seed(text: str | None, source: str) -> Seed | None:
    text = (text or "").strip()
    return Seed(text.lstrip("+"), source) if _NUMBER.fullmatch(text) else None
