"""Finding -> what would mend it. Pure.

Guarantees:
- A plan is made from the facts of an examination alone, never from what a client says; `command` is
  all that would be done, as one would type it.
- What is run is a program with arguments, never a shell's line; names that are not plain are not
  put into one.
- Nothing in the image's base or in the work folder is touched. What cannot be installed again
  (a folder of packages) is set aside, not deleted.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from ...i18n import N_
from ..checks import culprits, reading
from ..facts import Facts, integer_of, text_of
from ..findings import Finding
from ..kernel import Kernel

SHARED_MEMORY = "/dev/shm"  # noqa: S108 - the name of a file system


@dataclass(frozen=True)
class Run:
    """A program that ends by itself."""

    argv: tuple[str, ...]

    @property
    def command(self) -> str:
        """As one would type it."""
        return shlex.join(self.argv)


@dataclass(frozen=True)
class EndRanks:
    """Ranks without their torchrun: {pid: command line}."""

    ranks: Mapping[int, str]

    @property
    def command(self) -> str:
        """As one would type it."""
        return "kill -9 " + " ".join(str(pid) for pid in self.ranks)


@dataclass(frozen=True)
class DeleteShared:
    """Files in shared memory that nobody uses."""

    names: tuple[str, ...]

    @property
    def command(self) -> str:
        """As one would type it."""
        return shlex.join(["rm", "-f", "--", *(f"{SHARED_MEMORY}/{name}" for name in self.names)])


@dataclass(frozen=True)
class SetAside:
    """A folder gets another name."""

    folder: str

    @property
    def command(self) -> str:
        """As one would type it."""
        return shlex.join(["mv", self.folder, f"{self.folder}.set-aside"])


@dataclass(frozen=True)
class Unset:
    """A variable, in the kernel's settings, or else for what this server starts from now on."""

    variable: str

    @property
    def command(self) -> str:
        """As one would type it."""
        return f"unset {self.variable}"


Step = Run | EndRanks | DeleteShared | SetAside | Unset

# where JupyterLab has to act: a new server, a reset, the list of kernels
Elsewhere = Literal["restart", "reset", "kernels"]


@dataclass(frozen=True)
class Repair:
    """What would mend a finding. says: a msgid, what it means for the user."""

    code: str
    step: Step
    says: str


_UNINSTALL = N_(
    "Uninstalls them from your environment, so that the image's are used. You can install them "
    "again with pip. Restart kernels that run."
)
_FAMILY = re.compile(r"torch|torchvision|torchaudio|triton|(nvidia-[a-z0-9-]+)")
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_PACKAGES: Mapping[str, str] = {  # code -> the finding's parameter that names packages
    **dict.fromkeys(("GC205", "GC302", "GC306", "GC311"), "package"),
    **dict.fromkeys(("GC304", "GC305"), "packages"),
}
_NAMED: Mapping[str, tuple[str, ...]] = {
    "GC303": ("triton",),
    "GC322": ("nvidia-cudnn-cu12",),
    "GC323": ("numpy",),
}
_VARIABLES: Mapping[str, str] = {
    "GC128": "CUDA_VISIBLE_DEVICES",
    "GC130": "LD_LIBRARY_PATH",
    "GC135": "LD_LIBRARY_PATH",
    "GC142": "CUDA_VISIBLE_DEVICES",
    "GC212": "LD_LIBRARY_PATH",
    "GC213": "LD_PRELOAD",
    "GC214": "PYTHONPATH",
}
_ELSEWHERE: Mapping[str, Elsewhere] = {
    **dict.fromkeys(
        ("GC202", "GC203", "GC204", "GC208", "GC312", "GC313", "GC314", "GC315", "GC317"), "reset"
    ),
    **dict.fromkeys(
        ("GC102", "GC103", "GC123", "GC133", "GC139", "GC149", "GC151", "GC316", "GC402", "GC404"),
        "restart",
    ),
    **dict.fromkeys(("GC144", "GC148"), "kernels"),
}


def elsewhere(code: str) -> Elsewhere | None:
    """What JupyterLab can offer for a code that is not mended here."""
    return _ELSEWHERE.get(code)


def plan(finding: Finding, facts: Facts, kernel: Kernel, pip: tuple[str, ...]) -> Repair | None:
    """What would mend it, or None. pip: the command of a pip that works, without the kernel's."""
    code = finding.code.code
    packages = _packages(finding, facts)
    if packages and kernel.python:
        argv = (*pip, "--python", kernel.python[0], "uninstall", "--yes", *packages)
        return Repair(code, Run(argv), _UNINSTALL)
    if code == "GC411":
        ranks = {
            pid: text_of(item, "command")
            for item in facts.objects("resources", "orphan_ranks")
            if (pid := integer_of(item, "pid")) is not None
        }
        says = N_("Ends processes that nothing waits for. What they had not saved is lost.")
        return Repair(code, EndRanks(ranks), says) if ranks else None
    if code == "GC403":
        found = facts.objects("resources", "shm_leftovers")
        names = tuple(name for item in found if _PLAIN.fullmatch(name := text_of(item, "name")))
        says = N_("Deletes shared memory that no program uses any more.")
        return Repair(code, DeleteShared(names), says) if names else None
    if code == "GC211":
        folder = facts.text("python", "user_site", "path")
        says = N_("Gives the folder another name; nothing in it is deleted. Restart kernels then.")
        return Repair(code, SetAside(folder), says) if folder else None
    variable = _VARIABLES.get(code)
    if variable and facts.get("environment", "variables", variable) is not None:
        says = N_(
            "Removes it from the kernel's settings; if it is not there, for all that this server "
            "starts from now on, until it is restarted. Restart kernels then."
        )
        return Repair(code, Unset(variable), says)
    return None


def _packages(finding: Finding, facts: Facts) -> tuple[str, ...]:
    """What to uninstall from the environment; nothing if one of them is no package of it."""
    code = finding.code.code
    own = {item.name: item for item in reading.distributions(facts) if not item.in_base}
    if code in ("GC301", "GC321"):
        return tuple(sorted(name for name in own if _FAMILY.fullmatch(name)))
    if code in ("GC205", "GC311"):
        probe = "torch" if code == "GC311" else "ipykernel"
        if not all(suspect.version for suspect in culprits.culprits_found(facts, probe)):
            return ()  # modules that no package owns
    names = _NAMED.get(code) or tuple(finding.params.get(_PACKAGES.get(code, ""), "").split())
    known = all(reading.normalised(name) in own for name in names)
    return names if known and all(_PLAIN.fullmatch(name) for name in names) else ()
