"""Finding -> what would mend it. Pure.

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

import re
import sys
from collections.abc import Mapping
from dataclasses import replace

from ...i18n import N_
from ..checks import culprits, reading
from ..facts import Facts, integer_of, text_of
from ..findings import Finding
from ..report import Outcome
from .steps import (
    DeleteShared,
    EndRanks,
    Kind,
    Line,
    Repair,
    RestartKernel,
    Run,
    SetAside,
    Silence,
    Step,
    Unset,
    UnsetInKernel,
)

# the server's own pip, isolated: the kernel's may be missing or broken
PIP = (sys.executable, "-I", "-m", "pip")

_RESTART_KERNELS = N_("Restart kernels that run: they keep what they have loaded.")
_NEW_KERNELS = N_(
    "Shut down kernels that run and start them again: one that is only restarted keeps the "
    "variables of its first start."
)
_FOR_GOOD = N_("This cannot be undone.")
_NEED_IT = N_("Programs that need the variable do not find it any more.")

_FAMILY = re.compile(r"torch|torchvision|torchaudio|triton|(nvidia-[a-z0-9-]+)")
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_ID = re.compile(r"[\w-]+", re.ASCII)  # of a kernel of Jupyter Server's
_PACKAGES: Mapping[str, str] = {  # code -> the finding's parameter that names packages
    **dict.fromkeys(("GC205", "GC302", "GC306", "GC311", "GC342"), "package"),
    **dict.fromkeys(("GC304", "GC305", "GC331", "GC332"), "packages"),
}
_NAMED: Mapping[str, tuple[str, ...]] = {
    "GC303": ("triton",),
    "GC322": ("nvidia-cudnn-cu12",),
    "GC323": ("numpy",),
}
_WHOLE_FAMILY = ("GC301", "GC307", "GC321")
_CULPRITS: Mapping[str, str] = {"GC205": "ipykernel", "GC311": "torch"}  # code -> probe
# lists of files and folders, some of which may be the image's own
PATHS = ("LD_LIBRARY_PATH", "LD_PRELOAD", "PYTHONPATH")
_LIBRARIES = ("LD_LIBRARY_PATH", "LD_PRELOAD")
_VARIABLES: Mapping[str, tuple[str, ...]] = {
    "GC128": ("CUDA_VISIBLE_DEVICES",),
    "GC130": _LIBRARIES,
    "GC135": _LIBRARIES,
    "GC142": ("CUDA_VISIBLE_DEVICES",),
    "GC212": ("LD_LIBRARY_PATH",),
    "GC213": ("LD_PRELOAD",),
    "GC214": ("PYTHONPATH",),
    # these may come of other things, too: only what is not the image's own is unset
    "GC204": _LIBRARIES,
    "GC210": _LIBRARIES,
    "GC313": _LIBRARIES,
    "GC314": _LIBRARIES,
    "GC317": _LIBRARIES,
    "GC322": _LIBRARIES,
}
_ELSEWHERE: Mapping[str, Kind] = {
    **dict.fromkeys(
        ("GC202", "GC203", "GC204", "GC208", "GC312", "GC313", "GC314", "GC315", "GC316", "GC317"),
        "reset",
    ),
    **dict.fromkeys(
        (
            "GC102",
            "GC103",
            "GC105",
            "GC106",
            "GC123",
            "GC126",
            "GC133",
            "GC139",
            "GC141",
            "GC147",
            "GC149",
            "GC151",
            "GC161",
            "GC162",
            "GC169",
            "GC402",
            "GC404",
        ),
        "restart",
    ),
    **dict.fromkeys(("GC144", "GC148", "GC731", "GC732", "GC903"), "kernels"),
}
# of the kernel that was examined: a new process in its place has none of it
_KERNEL = (
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
_SPACE = ("GC405", "GC406", "GC407")
# whatever a variable says of these is the image's own, not the user's
_OF_THE_IMAGE = ("/opt/gpucamp", "/usr/local/nvidia")


def repairable() -> frozenset[str]:
    """Every code that may get a repair, by the tables."""
    own = ("GC211", "GC403", "GC411")
    tables = (_PACKAGES, _NAMED, _WHOLE_FAMILY, _VARIABLES, _ELSEWHERE, _KERNEL, _SPACE, own)
    return frozenset(code for table in tables for code in table)


def uninstalls() -> frozenset[str]:
    """Those for which packages are uninstalled: their checks wait for the list of packages."""
    return frozenset((*_PACKAGES, *_NAMED, *_WHOLE_FAMILY))


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
        (_uninstall(finding, facts, python, pip) if python else None)
        or _strays(code, facts, python, pip)
        or _set_aside(code, facts)
        or _ranks(code, facts)
        or _shared(code, facts)
        or _cache(finding, facts, pip)
        or _kernel(finding, facts, kernel)
        or _variables(finding, facts, kernel)
        or _elsewhere(code, facts)
    )


# -- packages


def _uninstall(finding: Finding, facts: Facts, python: str, pip: tuple[str, ...]) -> Repair | None:
    packages = _packages(finding, facts)
    if not packages:
        return None
    return Repair(
        "here",
        (Run((*pip, "--python", python, "uninstall", "--yes", *packages)),),
        (N_("Uninstalls packages from the kernel's environment, so that the image's are used."),),
        (N_("Code of yours that needs exactly these packages does not work any more."),),
        (N_("You can install them again with pip."),),
        (_RESTART_KERNELS,),
    )


def _packages(finding: Finding, facts: Facts) -> tuple[str, ...]:
    """What to uninstall from the environment; nothing if one of them is no package of it."""
    code = finding.code.code
    own = {item.name: item for item in reading.distributions(facts) if not item.in_base}
    if code in _WHOLE_FAMILY:
        # torch brings its libraries and triton: left alone, they would be the next finding
        return tuple(sorted(name for name in own if _FAMILY.fullmatch(name)))
    if code in _CULPRITS and not all(
        suspect.version for suspect in culprits.culprits_found(facts, _CULPRITS[code])
    ):
        return ()  # modules that no package owns
    names = _NAMED.get(code) or tuple(finding.params.get(_PACKAGES.get(code, ""), "").split())
    known = all(reading.normalised(name) in own for name in names)
    return names if known and all(_PLAIN.fullmatch(name) for name in names) else ()


def _strays(code: str, facts: Facts, python: str, pip: tuple[str, ...]) -> Repair | None:
    """Files that no package owns, and break an import; packages that do so with them go, too."""
    found = culprits.culprits_found(facts, _CULPRITS[code]) if code in _CULPRITS else ()
    strays = [suspect for suspect in found if not suspect.version]
    files = [_files_of(suspect, facts) for suspect in strays]
    own = {item.name for item in reading.distributions(facts) if not item.in_base}
    packages = tuple(suspect.name for suspect in found if suspect.version)
    known = all(reading.normalised(name) in own and _PLAIN.fullmatch(name) for name in packages)
    if not strays or not all(files) or not known or (packages and not python):
        return None
    steps: list[Step] = [SetAside(path) for paths in files for path in paths]
    if packages:
        steps.insert(0, Run((*pip, "--python", python, "uninstall", "--yes", *packages)))
    return Repair(
        "here",
        tuple(steps),
        (
            N_("Gives files that belong to no package another name, so that the image's are used."),
            *((N_("Uninstalls packages from the kernel's environment."),) if packages else ()),
        ),
        (N_("Code of yours that needs exactly these does not work any more; no file is deleted."),),
        (
            N_("Give the files their old names again: the output says where they are."),
            *((N_("You can install them again with pip."),) if packages else ()),
        ),
        (_RESTART_KERNELS,),
    )


def _files_of(suspect: culprits.Suspect, facts: Facts) -> tuple[str, ...]:
    """The paths of a module that no package owns; () where that is not for the doctor to touch: it
    is neither in the kernel's own environment nor among the user's packages.
    """
    prefix = (facts.text("python", "prefix") or "").rstrip("/") + "/"
    places = (facts.text("python", "user_site", "path"),)
    if not (suspect.directory.startswith(prefix) or suspect.directory in places):
        return ()
    for folder in facts.objects("packages", "directories"):
        if text_of(folder, "directory") != suspect.directory or folder.get("base") is True:
            continue
        files = folder.get("stray_files")
        names = files.get(suspect.name) if isinstance(files, Mapping) else None
        return tuple(
            f"{suspect.directory}/{name}"
            for name in (names if isinstance(names, list) else ())
            if folder.get("writable") is True and isinstance(name, str) and "/" not in name
        )
    return ()


def _set_aside(code: str, facts: Facts) -> Repair | None:
    folder = facts.text("python", "user_site", "path") if code == "GC211" else None
    if not folder:
        return None
    return Repair(
        "here",
        (SetAside(folder),),
        (N_("Gives the folder another name, so that Python does not find it."),),
        (N_("Packages in it cannot be imported any more; nothing is deleted."),),
        (N_("Give it its old name again."),),
        (_RESTART_KERNELS,),
    )


# -- what programs left behind


def _ranks(code: str, facts: Facts) -> Repair | None:
    ranks = {
        pid: text_of(item, "command")
        for item in facts.objects("resources", "orphan_ranks")
        if (pid := integer_of(item, "pid")) is not None
    }
    if code != "GC411" or not ranks:
        return None
    return Repair(
        "here",
        (EndRanks(ranks),),
        (N_("Ends the processes of a run whose torchrun has ended: nothing waits for them."),),
        (N_("What they had not saved is lost."),),
        (_FOR_GOOD,),
    )


def _shared(code: str, facts: Facts) -> Repair | None:
    found = facts.objects("resources", "shm_leftovers")
    names = tuple(name for item in found if _PLAIN.fullmatch(name := text_of(item, "name")))
    if code != "GC403" or not names:
        return None
    return Repair(
        "here",
        (DeleteShared(names),),
        (N_("Deletes files in shared memory that no program uses any more."),),
        (N_("Nothing that a running program uses."),),
        (_FOR_GOOD,),
    )


def _cache(finding: Finding, facts: Facts, pip: tuple[str, ...]) -> Repair | None:
    """Only where the full disk is the home's: pip keeps its cache there."""
    home = facts.integer("resources", "filesystems", "home", "device")
    full = (
        facts.integer("resources", "filesystems", name, "device")
        for name in ("work", "home", "tmp")
        if facts.text("resources", "filesystems", name, "path") == finding.params.get("path")
    )
    if finding.code.code not in _SPACE or home is None or home not in full:
        return None
    return Repair(
        "here",
        (Run((*pip, "cache", "purge")),),
        (N_("Empties pip's cache in your home. If that is not enough, delete what you can."),),
        (N_("Packages are downloaded again when you install them again."),),
        (_FOR_GOOD,),
    )


# -- the kernel that was examined


def _kernel(finding: Finding, facts: Facts, kernel: str) -> Repair | None:
    """Of a process that was examined in a terminal no server is known: a person restarts it."""
    code = finding.code.code
    if code not in _KERNEL:
        return None
    kernel_id = facts.text("running", "id") or ""
    pid, started = facts.integer("running", "pid"), facts.integer("running", "started")
    process = (pid, started) if pid is not None and started is not None else None
    busy = facts.text("asked", "why") in ("busy", "unknown")
    steps: list[Step] = []
    if _ID.fullmatch(kernel_id):
        steps = [*_bringing(finding, facts, kernel), RestartKernel(kernel_id, process, busy)]
    words = dict.fromkeys(_WORDS[type(step)] for step in steps[:-1])
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
            if not _is_of_the_image(part)
        ):
            steps += _unset(name, facts, kernel, code)
    return steps


# -- variables


def _variables(finding: Finding, facts: Facts, kernel: str) -> Repair | None:
    """Also of a code whose command is `unset NAME ...`: that is what its check asks for."""
    code = finding.code.code
    asked = finding.command.split()
    names = _VARIABLES.get(code) or tuple(asked[1:] if asked[:1] == ["unset"] else ())
    steps: list[Step] = []
    says: dict[str, None] = {}
    undo: dict[str, None] = {}
    for name in names:
        for step in _unset(name, facts, kernel, code):
            steps.append(step)
            said, undone = _WORDS[type(step)]
            says[said] = undo[undone] = None
    if not steps:
        return None
    return Repair("here", tuple(steps), tuple(says), (_NEED_IT,), tuple(undo), (_NEW_KERNELS,))


def _unset(name: str, facts: Facts, kernel: str, code: str) -> list[Step]:
    """Where it is set, there it goes: the kernel's settings; else start-up files of the shell;
    else what the server, or the terminal, passes on.
    """
    value = reading.variable(facts, name)
    if value is None or not _NAME.fullmatch(name):
        return []
    parts = [part for part in re.split(r"[:\s]+", value) if part] if name in PATHS else []
    keep = [part for part in parts if _is_of_the_image(part)]
    if parts and len(keep) == len(parts):
        return []
    settings = facts.text("origins", name, "settings")
    if settings:
        return [UnsetInKernel(name, settings, kernel, code)]
    lines = [
        Line(
            text_of(item, "file"),
            integer_of(item, "number") or 0,
            text_of(item, "text"),
            tuple(str(entry) for entry in entries) if isinstance(entries, list) else (),
        )
        for item in facts.objects("origins", name, "lines")
        for entries in (item.get("entries"),)
    ]
    files = dict.fromkeys(line.file for line in lines)
    silenced: list[Step] = [
        Silence(name, file, tuple(line for line in lines if line.file == file)) for file in files
    ]
    return silenced or [Unset(name, ":".join(keep))]


def _is_of_the_image(path: str) -> bool:
    return any(path == folder or path.startswith(folder + "/") for folder in _OF_THE_IMAGE)


_WORDS: Mapping[type, tuple[str, str]] = {
    UnsetInKernel: (
        N_("Takes the variable out of this kernel's settings (its kernel.json)."),
        N_("The old settings are kept beside it as kernel.json.before."),
    ),
    Silence: (
        N_("Makes the lines of your shell's start-up files that set it into comments."),
        N_("The old files are kept beside them, with .before at the end of their names."),
    ),
    Unset: (
        N_("This server does not pass it on any more to what it starts from now on."),
        N_("It is set again when the server is restarted."),
    ),
}


# -- elsewhere


def _elsewhere(code: str, facts: Facts) -> Repair | None:
    kind = _ELSEWHERE.get(code)
    if kind == "reset" and reading.is_users_own_kernel(facts):
        return None  # it would lose an environment that is well, and mend nothing
    if kind == "restart":
        return Repair(
            kind,
            says=(N_("Your server is stopped and started again: a new container gets its GPU."),),
            loses=(N_("Kernels and runs end. Save your notebooks first."),),
            undo=(N_("Your environment and your files stay as they are."),),
        )
    if kind == "reset":
        return Repair(
            kind,
            says=(N_("You get a fresh environment, as the image has it."),),
            loses=(N_("Packages, settings and caches of your environment, until you undo it."),),
            undo=(
                N_("“Undo last reset” brings the old environment back. Your work folder stays."),
            ),
        )
    if kind == "kernels":
        return Repair(
            kind,
            says=(N_("Kernels that you choose are shut down, so that they free what they hold."),),
            loses=(N_("Their variables are lost. Notebooks and files stay."),),
            undo=(N_("This cannot be undone; you can run the notebooks again."),),
        )
    return None
