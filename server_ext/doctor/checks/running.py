"""Does the kernel that is examined run, and does it answer? Pure.

Guarantees: of an examination that is of no running kernel, nothing is said; a kernel that could not
be asked is told once, and nothing that it would have answered is taken for well.
"""

from __future__ import annotations

from collections.abc import Iterator

from ...i18n import N_
from ..facts import Facts
from ..findings import CannotTell, Code, Finding, check
from . import reading

GONE = Code(
    "GC701",
    "running",
    "degraded",
    "you",
    N_("This kernel has ended or was restarted, so not all of this report is about it."),
    N_("Examine it again once it runs, if something still does not work."),
)
CLOSED = Code(
    "GC702",
    "running",
    "degraded",
    "you",
    N_("This kernel's process cannot be looked into, so what a new one would get was examined."),
    N_("Restart the kernel; a kernel of another machine or user is examined there."),
)
NOT_ASKED = Code(
    "GC703",
    "running",
    "advice",
    "you",
    N_("This kernel is not idle ({state}), so it was not asked about its memory and its torch."),
    N_("Examine it again when its cell has ended."),
)
NO_ANSWER = Code(
    "GC704",
    "running",
    "degraded",
    "you",
    N_("This kernel says that it is idle, but does not answer."),
    N_("Interrupt it; if it still does not answer, restart it."),
)


@check("running", ("running", "running_still"), (GONE, CLOSED))
def kernel_runs(facts: Facts) -> Iterator[Finding]:
    """The kernel ran from the beginning of the examination to its end."""
    state = facts.text("running", "state")
    detail = facts.text("running", "detail")
    seen = (detail,) if detail else ()
    if state in ("foreign", "unreadable", "elsewhere"):
        yield Finding(CLOSED, seen, tells=("asked",))
    elif state == "ended":
        yield Finding(GONE, seen, tells=("asked",))
    elif facts.flag("running_still", "alive") is False:
        yield Finding(
            GONE, (f"process {facts.get('running', 'pid')} ended meanwhile",), tells=("asked",)
        )


@check("running", ("running", "running_still", "asked"), (NOT_ASKED, NO_ANSWER))
def kernel_answers(facts: Facts) -> Iterator[Finding]:
    """A kernel that is idle says how it is."""
    failure = facts.failure("asked")
    ended = facts.flag("running_still", "alive") is False
    if failure is not None and facts.text("running", "state") == "alive" and not ended:
        yield Finding(NO_ANSWER, reading.failure_evidence(failure), tells=("asked",))
    elif state := _why_not_asked(facts):
        yield Finding(NOT_ASKED, (), {"state": state}, tells=("asked",))


def _why_not_asked(facts: Facts) -> str:
    """The state of a kernel that runs and was not asked because it is not idle, or ""."""
    why = facts.text("asked", "why") or ""
    return why if facts.text("running", "state") == "alive" else ""


def said(facts: Facts) -> bool:
    """Whether the kernel answered. Raises CannotTell where it should have."""
    if facts.flag("asked", "asked"):
        return facts.failure("asked") is None
    if facts.failure("asked") is None and (state := _why_not_asked(facts)):
        raise CannotTell("asked", f"the kernel is {state}")
    return False


def shown(value: object) -> str:
    """The value of a variable, for people."""
    return "not set" if value is None else reading.shorten(repr(value), 120)


CHECKS = (
    kernel_runs,
    kernel_answers,
)
