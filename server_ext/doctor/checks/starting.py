"""Does a kernel start, where its Python and ipykernel are well? Pure.

A kernel also runs what IPython finds in the home, in the folder of its notebook, by the command of
its kernel.json. Guarantee: `folders_to_try` is empty where none of these is the user's own, so that
nothing is started for a kernel that cannot differ from the image's.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

from ...i18n import N_
from ..facts import Facts, text_of
from ..findings import Code, Finding, check
from . import culprits, reading

VARIABLE_KEEPS_KERNEL = Code(
    "GC231",
    "kernel",
    "blocker",
    "you",
    N_("Kernels cannot start: {variable} keeps ipykernel from being imported."),
    N_("Unset {variable} where it is set: a dotfile, or the kernel's settings."),
    "unset {variable}",
    stops=True,
)
START_FILES = Code(
    "GC232",
    "kernel",
    "blocker",
    "you",
    N_("Kernels do not start: what they run or read at their start keeps them: {files}."),
    N_("Mend these files, or give their folder another name; then restart the kernel."),
    "mv {folder} {folder}.before",
)
OWN_MODULES = Code(
    "GC233",
    "kernel",
    "blocker",
    "you",
    N_("Kernels in {folder} do not start: they find your own {files} instead of real modules."),
    N_("Give every such file another name, then restart the kernel."),
)
DOES_NOT_START = Code(
    "GC234",
    "kernel",
    "blocker",
    "you",
    N_("The kernel {kernel} does not start: {error}."),
    N_("Mend the command in its kernel.json, or choose the kernel “Python 3 (PyTorch 2.9)”."),
)
BAD_SPEC = Code(
    "GC235",
    "kernel",
    "blocker",
    "you",
    N_("The kernel {kernel} cannot be started as its kernel.json says."),
    N_("Mend {file}, or choose the kernel “Python 3 (PyTorch 2.9)”."),
    stops=True,
)

_IN_KERNEL = ("python", "packages", "ipykernel", "torch")
_MODULES = ("ipykernel_launcher", "ipykernel")
_MOST_FOLDERS = 3
_MOST_FILES = 6


def folders_to_try(facts: Facts) -> tuple[str, ...]:
    """The folders in which to start the kernel, to see whether it does; () where that would teach
    nothing.
    """
    if facts.failure("python") is not None or facts.flag("ipykernel", "ok") is not True:
        return ()
    work = facts.text("python", "folder") or ""
    shadowed = dict.fromkeys(_folder_of(facts, file) for file in facts.texts("python", "shadows"))
    if work and shadowed:
        return tuple(sorted(shadowed, key=len)[:_MOST_FOLDERS])
    own = facts.texts("python", "start_files") or not _is_usual(facts.texts("kernelspec", "argv"))
    return (work or "/",) if own else ()


def _is_usual(argv: tuple[str, ...]) -> bool:
    """python [-X…] -m ipykernel_launcher -f {connection_file}"""
    rest = [word for word in argv[1:] if not word.startswith("-X")]
    return (
        len(rest) == 4
        and rest[0] == "-m"
        and rest[1] in _MODULES
        and rest[2:] == ["-f", "{connection_file}"]
    )


@check("kernel", ("kernelspec",), (BAD_SPEC,))
def kernel_can_be_started(facts: Facts) -> Iterator[Finding]:
    """kernel.json says what Jupyter can start."""
    problems = facts.texts("kernelspec", "problems")
    if problems:
        params = {
            "kernel": facts.text("kernelspec", "name") or "",
            "file": os.path.join(facts.text("kernelspec", "folder") or "", "kernel.json"),
        }
        yield Finding(BAD_SPEC, problems, params, tells=_IN_KERNEL)


@check(
    "kernel",
    ("ipykernel", "ipykernel_culprit", "environment", "packages", "reference"),
    (VARIABLE_KEEPS_KERNEL,),
)
def no_variable_keeps_kernels(facts: Facts) -> Iterator[Finding]:
    """No variable keeps ipykernel from being imported."""
    blamed = culprits.variables_found(facts, "ipykernel")
    if blamed:
        error = facts.mapping("ipykernel", "error")
        failure = facts.failure("ipykernel")
        said = (
            reading.failure_evidence(failure)
            if failure is not None
            else (f"{text_of(error, 'type')}: {reading.shorten(text_of(error, 'message'))}",)
        )
        lines = (*said, *culprits.settings_of(facts, blamed))
        params = {"variable": " ".join(blamed)}
        yield Finding(VARIABLE_KEEPS_KERNEL, lines, params, tells=("ipykernel",))


@check(
    "kernel",
    ("kernelspec", "python", "start"),
    (START_FILES, OWN_MODULES, DOES_NOT_START),
)
def kernel_starts(facts: Facts) -> Iterator[Finding]:
    """A kernel starts and answers, with what is the user's own in its start."""
    if facts.flag("start", "asked") is False:
        return
    reading.require(facts, "start", "folders")
    tried = facts.objects("start", "folders")
    failing = next((item for item in tried if item.get("answered") is False), None)
    if failing is None:
        return
    ended = text_of(failing, "ended") or "it does not answer in time"
    said = reading.last_lines(text_of(failing, "said"))
    lines = (ended, *(reading.shorten(line) for line in said))
    folder = text_of(failing, "folder")
    if facts.flag("start", "without_files") is True:
        files = facts.texts("python", "start_files")
        params = {"files": ", ".join(files[:_MOST_FILES]), "folder": _common(files)}
        yield Finding(START_FILES, lines, params, tells=("start",))
    elif files := files_in_the_way(facts):
        params = {"files": ", ".join(files[:_MOST_FILES]), "folder": folder}
        yield Finding(OWN_MODULES, lines, params, tells=("start",))
    else:
        error = f"{ended} ({reading.shorten(said[-1], 120)})" if said else ended
        params = {"kernel": facts.text("kernelspec", "name") or "", "error": error}
        yield Finding(DOES_NOT_START, lines, params, tells=("start",))


def files_in_the_way(facts: Facts) -> tuple[str, ...]:
    """The files that keep a kernel from starting in their folder, and nowhere else; as the probe
    tells them.
    """
    tried = facts.objects("start", "folders")
    failing = next((item for item in tried if item.get("answered") is False), {})
    if facts.flag("start", "elsewhere") is not True:
        return ()
    return tuple(
        file
        for file in facts.texts("python", "shadows")
        if _folder_of(facts, file) == text_of(failing, "folder")
    )


def _folder_of(facts: Facts, file: str) -> str:
    work = facts.text("python", "folder") or ""
    return os.path.join(work, os.path.dirname(file)).rstrip("/")


def _common(files: tuple[str, ...]) -> str:
    """The folder in which all of them are; of one file, the file."""
    return files[0] if len(files) == 1 else os.path.commonpath(files) if files else ""


def question(facts: Facts, folders: tuple[str, ...], seconds: float) -> Mapping[str, object]:
    """What probes/start.py is asked."""
    argv = list(facts.texts("kernelspec", "argv"))
    executable = facts.text("kernelspec", "executable")
    if executable and "launched" not in facts.mapping("kernelspec"):
        argv[:1] = [executable]
    return {
        "argv": [
            word.replace("{resource_dir}", facts.text("kernelspec", "folder") or "")
            for word in argv
        ],
        "folders": list(folders),
        "files": bool(facts.texts("python", "start_files")),
        "seconds": seconds,
    }


CHECKS = (
    kernel_can_be_started,
    no_variable_keeps_kernels,
    kernel_starts,
)
