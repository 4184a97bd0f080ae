"""Plans that give the kernel that was examined a new process. Pure.

Guarantees: a kernel of no Jupyter Server gets no step, a person restarts it; the step has the
process that was examined, where that is known, so that another one can be left alone.
"""

from __future__ import annotations

import re

from ...i18n import N_
from ..facts import Facts
from ..findings import Finding
from .plain_names import KERNEL_ID
from .plan_variables import WORDS, is_of_the_image, unset
from .steps import Repair, RestartKernel, Step

# of the kernel that was examined: a new process in its place has none of it
CODES = (
    "GC702",
    "GC704",
    "GC711",
    "GC712",
    "GC713",
    "GC714",
    "GC721",
    "GC722",
    "GC723",
    "GC724",
)


def restart(finding: Finding, facts: Facts, kernel: str) -> Repair | None:
    """Of a process that was examined in a terminal no server is known: a person restarts it."""
    code = finding.code.code
    if code not in CODES:
        return None
    kernel_id = facts.text("running", "id") or ""
    pid, started = facts.integer("running", "pid"), facts.integer("running", "started")
    process = (pid, started) if pid is not None and started is not None else None
    busy = facts.text("asked", "why") in ("busy", "unknown")
    steps: list[Step] = []
    if KERNEL_ID.fullmatch(kernel_id):
        steps = [*_bringing(finding, facts, kernel), RestartKernel(kernel_id, process, busy)]
    words = dict.fromkeys(WORDS[type(step)] for step in steps[:-1])
    runs = (N_("A cell runs in it now: it ends in the middle."),) if busy else ()
    return Repair(
        "kernel",
        tuple(steps),
        (
            *(says for says, _ in words),
            N_("Ends this kernel's process and starts a new one in its place."),
            *runs,
        ),
        (N_("All variables in its memory are lost. Notebooks and files stay."),),
        (
            N_("This cannot be undone; you can run the notebook's cells again."),
            *(undo for _, undo in words),
        ),
        (N_("Run the cells that you need again, from the first one on."),),
    )


def _bringing(finding: Finding, facts: Facts, kernel: str) -> list[Step]:
    """Takes away the variables that would bring libraries of elsewhere to a new process, too."""
    steps: list[Step] = []
    for name, code in (("LD_LIBRARY_PATH", "GC212"), ("LD_PRELOAD", "GC213")):
        value = facts.text("running", "spec_variables", name) or ""
        parts = [part.rstrip("/") for part in re.split(r"[:\s]+", value) if part]
        if finding.code.code == "GC713" and any(
            path == part or path.startswith(part + "/")
            for path in finding.evidence
            for part in parts
            if not is_of_the_image(part)
        ):
            steps += unset(name, facts, kernel, code)
    return steps
