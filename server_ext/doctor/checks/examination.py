"""Was everything looked at? What was not must not count as well. Pure.

Guarantees: one finding for everything that the same person mends in the same way; nothing about a
probe whose failure another finding explains (report.py leaves it out).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ...i18n import N_
from ..facts import Facts, text_of
from ..findings import Code, Finding, check
from . import reading

KERNEL_UNEXAMINED = Code(
    "GC901",
    "examination",
    "degraded",
    "you",
    N_("Not everything in this kernel could be examined: {what}."),
    N_("Examine again; if it stays so, undo what was last installed or reset the environment."),
)
SERVER_UNEXAMINED = Code(
    "GC902",
    "examination",
    "degraded",
    "you",
    N_("Not everything in this server could be examined: {what}."),
    N_("Examine again; if it stays so, restart the server, then tell your instructor."),
)
NO_ROOM = Code(
    "GC903",
    "examination",
    "degraded",
    "you",
    N_("The container has no room for another process, so not everything could be examined."),
    N_("Shut down kernels and end runs that you do not need; else restart the server."),
)
DOCTOR_BROKEN = Code(
    "GC904",
    "examination",
    "degraded",
    "instructor",
    N_("The doctor itself failed at {count} of its checks."),
    N_("Give your instructor the whole report: this is a fault of gpucamp."),
)

# probes that the kernel's Python runs
_IN_KERNEL = (
    "python",
    "packages",
    "ipykernel",
    "torch",
    "extensions",
    "start",
    "start_variables",
)


@check(
    "examination",
    ("examination",),
    (KERNEL_UNEXAMINED, SERVER_UNEXAMINED, NO_ROOM, DOCTOR_BROKEN),
)
def everything_was_examined(facts: Facts) -> Iterator[Finding]:
    """No check was left without an answer for a reason that no other finding tells."""
    groups: dict[str, list[Mapping[str, object]]] = {}
    codes = {code.code: code for code in (KERNEL_UNEXAMINED, SERVER_UNEXAMINED, NO_ROOM)}
    for item in facts.objects("examination", "unexamined"):
        groups.setdefault(_code_of(item).code, []).append(item)
    for name, items in sorted(groups.items()):
        what = ", ".join(f"{text_of(item, 'probe')} ({text_of(item, 'kind')})" for item in items)
        evidence = tuple(line for item in items for line in _lines(item))
        yield Finding(codes[name], evidence, {"what": what})
    broken = facts.objects("examination", "broken")
    if broken:
        lines = tuple(f"{text_of(item, 'check')}: {text_of(item, 'error')}" for item in broken)
        yield Finding(DOCTOR_BROKEN, lines, {"count": str(len(broken))})


def _code_of(item: Mapping[str, object]) -> Code:
    if reading.says_no_room(text_of(item, "kind"), text_of(item, "detail")):
        return NO_ROOM
    return KERNEL_UNEXAMINED if text_of(item, "probe") in _IN_KERNEL else SERVER_UNEXAMINED


def _lines(item: Mapping[str, object]) -> tuple[str, ...]:
    seconds, checks = item.get("seconds"), item.get("checks")
    after = f" (after {seconds} s)" if seconds else ""
    said = reading.last_lines(text_of(item, "stderr"))
    names = ", ".join(str(name) for name in checks) if isinstance(checks, list) else ""
    return (
        f"{text_of(item, 'probe')}: {text_of(item, 'detail')}{after}",
        *said,
        f"not examined: {names}",
    )


CHECKS = (everything_was_examined,)
