"""Plans that unset a variable. Pure.

Guarantees: it goes where it is set: in the kernel's settings; else in start-up files of the shell;
else in what the server, or the terminal, passes on. What the image put into it stays.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from ...i18n import N_
from ..checks import reading
from ..facts import Facts, integer_of, text_of
from ..findings import Finding
from .plain_names import VARIABLE
from .steps import Line, Repair, Silence, Step, Unset, UnsetInKernel

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
CODES = frozenset(_VARIABLES)
# whatever a variable says of these is the image's own, not the user's
_OF_THE_IMAGE = ("/opt/gpucamp", "/usr/local/nvidia")

_NEW_KERNELS = N_(
    "Shut down kernels that run and start them again: one that is only restarted keeps the "
    "variables of its first start."
)
_NEED_IT = N_("Programs that need the variable do not find it any more.")
# step -> what it does, how it is taken back
WORDS: Mapping[type, tuple[str, str]] = {
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


def unset_variables(finding: Finding, facts: Facts, kernel: str) -> Repair | None:
    """Also of a code whose command is `unset NAME ...`: that is what its check asks for."""
    code = finding.code.code
    asked = finding.command.split()
    names = _VARIABLES.get(code) or tuple(asked[1:] if asked[:1] == ["unset"] else ())
    steps: list[Step] = []
    says: dict[str, None] = {}
    undo: dict[str, None] = {}
    for name in names:
        for step in unset(name, facts, kernel, code):
            steps.append(step)
            said, undone = WORDS[type(step)]
            says[said] = undo[undone] = None
    if not steps:
        return None
    return Repair("here", tuple(steps), tuple(says), (_NEED_IT,), tuple(undo), (_NEW_KERNELS,))


def unset(name: str, facts: Facts, kernel: str, code: str) -> list[Step]:
    """Where it is set, there it goes: the kernel's settings; else start-up files of the shell;
    else what the server, or the terminal, passes on.
    """
    value = reading.variable(facts, name)
    if value is None or not VARIABLE.fullmatch(name):
        return []
    parts = [part for part in re.split(r"[:\s]+", value) if part] if name in PATHS else []
    keep = [part for part in parts if is_of_the_image(part)]
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


def is_of_the_image(path: str) -> bool:
    """Whether the image brings what is there."""
    return any(path == folder or path.startswith(folder + "/") for folder in _OF_THE_IMAGE)
