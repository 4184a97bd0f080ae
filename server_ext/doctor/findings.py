"""The doctor's words: layers, codes, checks and findings.

Guarantees: pure and immutable. A code never changes its meaning once released; its texts are
English gettext msgids with {placeholders}, filled in and translated only when a person reads
them. `LAYERS` has every layer after those it depends on.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from .facts import Facts
from .repairs.steps import Repair

Severity = Literal["blocker", "degraded", "advice"]
Who = Literal["you", "instructor"]
Gettext = Callable[[str], str]

# layer -> the layers without which it cannot work; a finding that stops a layer silences its
# dependents
LAYERS: Mapping[str, tuple[str, ...]] = {
    "kernel": (),
    "environment": (),
    "resources": (),
    "network": (),
    "device": (),
    "host": (),  # of the same device, as it is seen from outside of the container
    "nvml": ("device",),
    "libcuda": ("nvml",),
    "packages": ("kernel",),
    "torch": ("kernel",),
    "cuda": ("libcuda", "torch"),
    # measured on demand, not part of an examination
    "performance": (),
    # a kernel that runs may be ill where a new one would be well, and the other way round
    "running": (),
    # about the examination itself: what the other layers' checks could not look at
    "examination": (),
}

SEVERITIES: tuple[Severity, ...] = ("blocker", "degraded", "advice")


@dataclass(frozen=True)
class Code:
    """One thing that can be wrong.

    code: stable, GC and three digits; stops: whether layers above it cannot work then; command:
    one that helps to look or to mend by hand, or ""; where the doctor can mend it, the command that
    is shown is its repair's (repairs/plan.py), which makes its own of `unset NAME ...`, too; title,
    fix: one sentence each.
    """

    code: str
    layer: str
    severity: Severity
    who: Who
    title: str
    fix: str
    command: str = ""
    stops: bool = False


@dataclass(frozen=True)
class Finding:
    """A code met in these facts.

    evidence: what was seen, as it was seen (not translated); who: who can mend it where that
    depends on the facts, None: as the code says; tells: the probes whose failure, or whose silence
    about something, this finding explains, so that nothing else needs to; repair: what would mend
    it, as far as the facts say when it is made.
    """

    code: Code
    evidence: tuple[str, ...] = ()
    params: Mapping[str, str] = field(default_factory=dict)
    who: Who | None = None
    tells: tuple[str, ...] = ()
    repair: Repair | None = None

    @property
    def command(self) -> str:
        """The code's own command; see Code. A path is one word of it, whatever its name."""
        words = {
            name: shlex.quote(value) if value.startswith("/") else value
            for name, value in self.params.items()
        }
        return _fill(self.code.command, words)

    def describe(self, gettext: Gettext, docs_url: str) -> dict[str, object]:
        """As the REST API and the report show it."""
        code = self.code
        # what Jupyter Server is asked for is nothing to type
        typed = self.repair if self.repair and self.repair.kind != "kernel" else None
        return {
            "code": code.code,
            "severity": code.severity,
            "layer": code.layer,
            "who": self.who or code.who,
            "title": _fill(gettext(code.title), self.params),
            "evidence": list(self.evidence),
            "fix": _fill(gettext(code.fix), self.params),
            "command": (typed.command if typed is not None else "") or self.command,
            "repair": self.repair.describe(gettext) if self.repair else None,
            "params": dict(self.params),
            "docs_url": docs_url.replace("{code}", code.code),
        }


def _fill(text: str, params: Mapping[str, str]) -> str:
    """Placeholders replaced by plain substitution: values are data, never a format."""
    for name, value in params.items():
        text = text.replace("{" + name + "}", value)
    return text


class CannotTell(Exception):
    """Raised by a check that lacks a fact for its answer. probe: the one that did not tell it; why:
    for people, English.
    """

    def __init__(self, probe: str, why: str) -> None:
        super().__init__(f"{probe}: {why}")
        self.probe = probe
        self.why = why


@dataclass(frozen=True)
class Check:
    """A question to the facts.

    needs: the probes it reads; codes: what it may find; run: yields what is wrong. Nothing yielded
    means that all is well, unless it read a failed probe or raised CannotTell.
    """

    name: str
    layer: str
    needs: tuple[str, ...]
    codes: tuple[Code, ...]
    run: Callable[[Facts], Iterable[Finding]]


def check(
    layer: str, needs: tuple[str, ...], codes: tuple[Code, ...]
) -> Callable[[Callable[[Facts], Iterable[Finding]]], Check]:
    """Makes a Check of a pure function facts -> findings; its name is the function's."""

    def wrap(run: Callable[[Facts], Iterable[Finding]]) -> Check:
        return Check(run.__name__, layer, needs, codes, run)

    return wrap
