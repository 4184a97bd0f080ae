"""The last verdict of GPU doctor about a server, as the service keeps it. Pure.

Guarantees: codes, severities, numbers and names of a fixed form only, never a text that a user can
choose; bounded in size; how bad it is follows from its findings. It is what a server says of
itself: good for helping its user, not for decisions.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Literal

Severity = Literal["blocker", "degraded", "advice"]
SEVERITIES: tuple[Severity, ...] = ("blocker", "degraded", "advice")  # worst first


class Word(StrEnum):
    """The verdict in a word, worst first."""

    BLOCKED = "blocked"
    DEGRADED = "degraded"
    ADVICE = "advice"
    HEALTHY = "healthy"


_WORDS: dict[Severity, Word] = {
    "blocker": Word.BLOCKED,
    "degraded": Word.DEGRADED,
    "advice": Word.ADVICE,
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an examination found.

    at: when it began, by the server's clock but never later than it came; findings: (code,
    severity), worst first; kernel: "" for a name of another form; passed, unexamined: how many
    checks; version: of gpucamp in the image; lease_id: the lease that the server had then, "" if it
    did not tell.
    """

    user: str
    server: str
    at: datetime
    findings: tuple[tuple[str, Severity], ...] = ()
    kernel: str = ""
    seconds: float = 0.0
    passed: int = 0
    unexamined: int = 0
    version: str = ""
    lease_id: str = ""

    @property
    def word(self) -> Word:
        """By its worst finding."""
        return worst(severity for _code, severity in self.findings)


def worst(severities: Iterable[Severity]) -> Word:
    """The verdict of findings of these severities."""
    found = set(severities)
    return next((_WORDS[each] for each in SEVERITIES if each in found), Word.HEALTHY)


def in_order(findings: Iterable[tuple[str, Severity]]) -> tuple[tuple[str, Severity], ...]:
    """Worst first, then by code; a code once, with its worst severity."""
    by_code: dict[str, Severity] = {}
    for code, severity in findings:
        known = by_code.get(code, severity)
        by_code[code] = min(known, severity, key=SEVERITIES.index)
    return tuple(sorted(by_code.items(), key=lambda each: (SEVERITIES.index(each[1]), each[0])))
