"""Which variable keeps a kernel's Python from starting: PYTHONHOME and its like.

Guarantees: only after Python failed with them; names a variable only if Python starts without it.
A probe's limits hold for each try.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping

from .facts import Failure, ProbeResult

NAME = "start_variables"
# of all variables, those that Python and the dynamic linker read before the first line of a program
_PREFIXES = ("PYTHON", "LD_", "GLIBC_", "MALLOC_")
# the image's own, and what cannot keep anything from starting
_HARMLESS = frozenset(
    ("PYTHONNOUSERSITE", "PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE", "PYTHONSTARTUP")
)
MOST = 8

Starts = Callable[[Mapping[str, str]], Awaitable[bool]]


def suspects(env: Mapping[str, str]) -> tuple[str, ...]:
    """The variables that are worth a try, in order."""
    names = sorted(name for name in env if name.startswith(_PREFIXES) and name not in _HARMLESS)
    return tuple(names[:MOST])


def nothing() -> ProbeResult:
    """Python starts, or there is none."""
    return ProbeResult(NAME, value={"culprits": []})


async def find(failure: Failure | None, env: Mapping[str, str], starts: Starts) -> ProbeResult:
    """{culprits: names}. starts: whether Python starts with these variables."""
    names = suspects(env)
    if failure is None or failure.kind == "not-started" or not names:
        return nothing()
    started = time.monotonic()
    culprits: tuple[str, ...] = ()
    if await starts(_without(env, names)):
        culprits = names
        for name in names if len(names) > 1 else ():
            if await starts(_without(env, (name,))):
                culprits = (name,)
                break
    seconds = time.monotonic() - started
    return ProbeResult(NAME, seconds, {"culprits": list(culprits)})


def _without(env: Mapping[str, str], names: tuple[str, ...]) -> dict[str, str]:
    return {name: value for name, value in env.items() if name not in names}
