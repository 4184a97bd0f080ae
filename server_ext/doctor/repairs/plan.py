"""Finding -> what would mend it: the first that one of plan_*.py has for it. Pure.

Guarantees:
- The only source of the command that a finding shows where the doctor can mend it, and of what is
  done then: they cannot differ.
- A plan is made from the facts of an examination alone, never from what a client says; `command` is
  all that would be done, as one would type it.
- What is run is a program with arguments, never a shell's line; names that are not plain are not
  put into one.
- Nothing in the image's base or in the work folder is touched. What cannot be installed again
  (a folder of packages, a stray file) is set aside, not deleted.
"""

from __future__ import annotations

import sys
from dataclasses import replace

from ..facts import Facts
from ..findings import Finding
from ..report import Outcome
from . import plan_elsewhere, plan_kernel, plan_leftovers, plan_packages, plan_variables
from .steps import Repair

# the server's own pip, isolated: the kernel's may be missing or broken
PIP = (sys.executable, "-I", "-m", "pip")

_PARTS = (plan_packages, plan_leftovers, plan_kernel, plan_variables, plan_elsewhere)


def repairable() -> frozenset[str]:
    """Every code that may get a repair, by the tables."""
    return frozenset(code for part in _PARTS for code in part.CODES)


def uninstalls() -> frozenset[str]:
    """Those for which packages are uninstalled: their checks wait for the list of packages."""
    return plan_packages.UNINSTALL_CODES


def with_repairs(outcome: Outcome, facts: Facts, kernel: str, python: str) -> Outcome:
    """The outcome with what would mend its findings; see `plan`."""
    return replace(
        outcome,
        findings=tuple(
            replace(finding, repair=plan(finding, facts, kernel, python))
            for finding in outcome.findings
        ),
    )


def plan(
    finding: Finding, facts: Facts, kernel: str, python: str, pip: tuple[str, ...] = PIP
) -> Repair | None:
    """What would mend it, or None.

    kernel: its name; python: the path of its Python, or ""; pip: the command of a pip that works,
    without the kernel's.
    """
    code = finding.code.code
    return (
        (plan_packages.uninstall(finding, facts, python, pip) if python else None)
        or plan_packages.set_strays_aside(code, facts, python, pip)
        or plan_packages.set_user_site_aside(code, facts)
        or plan_leftovers.end_ranks(code, facts)
        or plan_leftovers.delete_shared(code, facts)
        or plan_leftovers.purge_cache(finding, facts, pip)
        or plan_kernel.restart(finding, facts, kernel)
        or plan_variables.unset_variables(finding, facts, kernel)
        or plan_elsewhere.lead(code, facts)
    )
