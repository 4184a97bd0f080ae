"""One way to fail: what to look for, why it happens, what to do.

`weight` orders explanations: the lowest wins, so a cause (10) comes before a signal (40), before
an exception that the catalogue does not know (50), before what a script only printed (55), before
an exception that it printed and survived (65), before a time-out that is somebody else's fault
(70), before the victims of a rank that has gone (90). A `pattern` is looked for in the exception
that ended a rank; a script may print and survive what looks like a failure, so `anywhere`, looked
for in all of a rank's output, counts less, unless it has the form that only a library writes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

CAUSE, LINE, GENERAL, SIGNAL, EXCEPTION, PRINTED, SILENT_EXIT = 10, 20, 30, 40, 50, 55, 60
LAUNCHER, SURVIVED, DERIVED, VICTIM = 62, 65, 70, 90

# Raised for what a script does wrong; PyTorch and NCCL tell of devices and peers by others, so in
# these the words of a cause are the script's own, unless a signature says `logic_error`.
LOGIC_ERRORS = frozenset(
    {
        *("ArithmeticError", "AssertionError", "AttributeError", "IndexError", "KeyError"),
        *("LookupError", "NameError", "NotImplementedError", "StopIteration", "TypeError"),
        *("UnboundLocalError", "UnicodeDecodeError", "ValueError", "ZeroDivisionError"),
    }
)


@dataclass(frozen=True)
class Signature:
    """One way to fail. Named groups of the patterns fill placeholders in `cause` and `fix`.

    with_frames: another pattern, for the traceback together with its exception. of_torchrun:
    `anywhere` counts in torchrun's own lines only; exit_code: in a rank that ended so only.
    packages: fill {package} by the first part of {name}: itself where it is not among them.
    """

    code: str
    pattern: re.Pattern[str]
    cause: str
    fix: str
    weight: int = CAUSE
    anywhere: re.Pattern[str] | None = None
    printed_weight: int = PRINTED
    with_frames: re.Pattern[str] | None = None
    logic_error: bool = False
    of_torchrun: bool = False
    exit_code: int | None = None
    packages: Mapping[str, str] = field(default_factory=dict)


def signature(
    code: str,
    pattern: str,
    cause: str,
    fix: str,
    weight: int = CAUSE,
    *,
    anywhere: str = "",
    printed_weight: int = PRINTED,
    with_frames: str = "",
    logic_error: bool = False,
    of_torchrun: bool = False,
    exit_code: int | None = None,
    packages: Mapping[str, str] | None = None,
) -> Signature:
    return Signature(
        code,
        re.compile(pattern),
        cause,
        fix,
        weight,
        re.compile(anywhere) if anywhere else None,
        printed_weight,
        re.compile(with_frames) if with_frames else None,
        logic_error,
        of_torchrun,
        exit_code,
        packages or {},
    )
