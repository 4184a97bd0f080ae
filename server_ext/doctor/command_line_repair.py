"""gpucamp-doctor --repair: mends in a terminal what the doctor can mend, after asking.

Guarantees: nothing is done that was not shown first; nobody is asked who cannot answer (without a
terminal only --yes counts, and no answer is no); what was done is examined again. Exit code: 0 what
was asked for is mended (or was not wrong), 1 it is not, 3 nobody could be asked, or the doctor
failed.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from contextlib import aclosing

from ..i18n import N_, Gettext
from . import leash
from .checks import CATALOGUE
from .findings import Finding
from .repairs.steps import Repair, Unset
from .report import Finished, worst_first

MENDED, NOT_MENDED, FAILED = 0, 1, 3

_ELSEWHERE = {
    "restart": N_(
        "This needs a new server: on JupyterHub's page (File > Hub Control Panel in JupyterLab) "
        "stop your server and start it again."
    ),
    "packages": N_(
        "This needs a reset: in JupyterLab GPU > Reset environment, Remove what I installed; or a "
        "new environment from JupyterHub's page."
    ),
    "kernel": N_("Restart the kernel: in its notebook, Kernel > Restart Kernel… in the menu."),
    "kernels": N_("Shut down kernels: Running, on the left in JupyterLab."),
}


def main(code: str, *, yes: bool, examine: Callable[[], Finished], gettext: Gettext) -> int:
    """The exit code. code: what to mend, "" to list what can be; examine: examines, prints the
    report and keeps it.
    """
    if code and code not in CATALOGUE:
        known = ", ".join(sorted(CATALOGUE))
        print(f"gpucamp-doctor: there is no code {code}. Codes: {known}", file=sys.stderr)
        return FAILED
    if code and not yes and not sys.stdin.isatty():
        print(
            gettext(N_("gpucamp-doctor: there is no terminal to ask in; --yes does it unasked.")),
            file=sys.stderr,
        )
        return FAILED
    found = _findings(examine())
    print()
    if not code:
        return _list(found, gettext)
    finding = found.get(code)
    if finding is None:
        print(gettext(N_("{code} was not found: there is nothing to mend.")).format(code=code))
        return MENDED
    return _mend(finding, yes=yes, examine=examine, gettext=gettext)


def _findings(finished: Finished) -> dict[str, Finding]:
    found = (finding for outcome in finished.outcomes for finding in outcome.findings)
    return {finding.code.code: finding for finding in worst_first(found)}


def _list(found: dict[str, Finding], gettext: Gettext) -> int:
    offered = {code: finding.repair for code, finding in found.items() if finding.repair}
    if not offered:
        print(gettext(N_("There is nothing that the doctor could mend.")))
    for code, repair in offered.items():
        print(code)
        for line in _plan(repair, gettext):
            print(line)
    return MENDED


def _plan(repair: Repair, gettext: Gettext) -> list[str]:
    """What is shown before the question."""
    lines = [gettext(text) for text in repair.says]
    if repair.loses:
        lines.append(gettext(N_("What is lost:")) + " " + " ".join(map(gettext, repair.loses)))
    if repair.undo:
        lines.append(gettext(N_("The way back:")) + " " + " ".join(map(gettext, repair.undo)))
    if repair.kind != "here":
        lines.append(gettext(_ELSEWHERE[repair.kind]))
    elif not _only_in_this_terminal(repair):
        lines.append(f"  $ {printable(repair.command)}")
    else:
        typed = gettext(N_("It was set in this terminal. Type here: {command}"))
        lines.append(typed.format(command=printable(repair.command)))
    return ["  " + line for line in lines]


def _only_in_this_terminal(repair: Repair) -> bool:
    """Nobody but the shell itself can change its variables."""
    return all(isinstance(step, Unset) for step in repair.steps)


def _mend(finding: Finding, *, yes: bool, examine: Callable[[], Finished], gettext: Gettext) -> int:
    code, repair = finding.code.code, finding.repair
    if repair is None:
        text = gettext(N_("The doctor cannot mend {code} by itself; see what to do above."))
        print(text.format(code=code))
        return NOT_MENDED
    print(code)
    for line in _plan(repair, gettext):
        print(line)
    if repair.kind != "here" or _only_in_this_terminal(repair):
        return NOT_MENDED
    if not yes and not _agrees(gettext):
        print(gettext(N_("Nothing was done.")))
        return NOT_MENDED
    failed = asyncio.run(leash.held(_carry_out(repair, gettext), os.environ))
    print()
    # also when it failed: what is left to do is told by nothing else
    is_mended = code not in _findings(examine())
    print()
    if is_mended:
        print(gettext(N_("{code} is mended.")).format(code=code))
        for text in repair.then:
            print(gettext(text))
        return MENDED
    print(failed or gettext(N_("{code} is still there.")).format(code=code))
    return NOT_MENDED


def _agrees(gettext: Gettext) -> bool:
    print(gettext(N_("Do this? [y/N]")), end=" ", flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


async def _carry_out(repair: Repair, gettext: Gettext) -> str:
    """Why it failed, or ""."""
    # imported late: whoever only wants a report does not wait for it
    from .repairs.carry_out import carry_out
    from .repairs.failed import RepairFailed

    try:
        async with aclosing(carry_out(repair)) as texts:
            async for text in texts:
                print("\n".join(map(printable, text.split("\n"))), end="", flush=True)
    except RepairFailed as error:
        return error.render(gettext)
    return ""


def printable(text: str) -> str:
    """Evidence may come from anywhere: no control characters reach the terminal."""
    return "".join(c if c.isprintable() else "�" for c in text)
