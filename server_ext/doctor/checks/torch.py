"""Can torch be imported, and is it whole? Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from ...i18n import N_
from ..facts import Facts, Failure, text_of
from ..findings import CannotTell, Code, Finding, check
from . import culprits, reading

BROKEN_BY = Code(
    "GC311",
    "torch",
    "blocker",
    "you",
    N_("torch cannot be imported: {found} in your environment breaks it (the base has {base})."),
    N_("Take {package} out of your environment, so that the base's is used; or reset it."),
    stops=True,
)
NOT_INSTALLED = Code(
    "GC312",
    "torch",
    "blocker",
    "you",
    N_("torch is not installed for this kernel."),
    N_("Choose the kernel “Python 3 (PyTorch 2.9)”, or reset the environment."),
    stops=True,
)
LIBRARY_MISSING = Code(
    "GC313",
    "torch",
    "blocker",
    "you",
    N_("torch cannot be imported: the library {library} is missing."),
    N_("A package for another CUDA is installed; uninstall it, or reset the environment."),
    stops=True,
)
UNDEFINED_SYMBOL = Code(
    "GC314",
    "torch",
    "blocker",
    "you",
    N_("torch cannot be imported: it meets libraries of another version."),
    N_("Unset LD_LIBRARY_PATH and LD_PRELOAD; if they are not set, reset the environment."),
    stops=True,
)
IMPORT_FAILS = Code(
    "GC315",
    "torch",
    "blocker",
    "you",
    N_("torch cannot be imported: {error}."),
    N_("Undo what was last installed or changed in the environment, or reset it."),
    stops=True,
)
IMPORT_HANGS = Code(
    "GC316",
    "torch",
    "blocker",
    "you",
    N_("torch does not finish importing."),
    N_("Undo what was last installed or changed in the environment, or reset it."),
    stops=True,
)
IMPORT_CRASHES = Code(
    "GC317",
    "torch",
    "blocker",
    "you",
    N_("Python crashes while it imports torch: {error}."),
    N_("Uninstall what was last installed (libraries of another version), or reset."),
    stops=True,
)
VARIABLE_KEEPS_TORCH = Code(
    "GC341",
    "torch",
    "blocker",
    "you",
    N_("torch cannot be imported: {variable} keeps it from that."),
    N_("Unset {variable} where it is set: a dotfile, or the kernel's settings."),
    "unset {variable}",
    stops=True,
)
CPU_ONLY = Code(
    "GC321",
    "torch",
    "blocker",
    "you",
    N_("This torch ({version}) was built without CUDA: it can never use the GPU."),
    N_("Uninstall torch from your environment, so that the base's version is used again."),
    stops=True,
)
CUDNN = Code(
    "GC322",
    "torch",
    "degraded",
    "you",
    N_("cuDNN is not the one that torch was built for: {found} instead of {wanted}."),
    N_("Unset LD_LIBRARY_PATH and uninstall nvidia-cudnn-cu12 from your environment."),
)
NUMPY = Code(
    "GC323",
    "torch",
    "degraded",
    "you",
    N_("torch and NumPy do not work together: {error}."),
    N_("Uninstall numpy from your environment, so that the base's version is used again."),
)

_LIBRARY = re.compile(r"(lib[\w.+-]+\.so[\w.]*): cannot open shared object file")


@check(
    "torch",
    ("torch", "torch_culprit", "packages", "reference", "environment"),
    (
        BROKEN_BY,
        NOT_INSTALLED,
        LIBRARY_MISSING,
        UNDEFINED_SYMBOL,
        IMPORT_FAILS,
        IMPORT_HANGS,
        IMPORT_CRASHES,
        VARIABLE_KEEPS_TORCH,
    ),
)
def torch_imports(facts: Facts) -> Iterator[Finding]:
    """torch can be imported."""
    failure = facts.failure("torch")
    if failure is not None and failure.kind == "not-started":
        return  # which says nothing about torch
    if failure is None:
        reading.require(facts, "torch", "ok")
        if facts.flag("torch", "ok") is not False:
            return
    yield replace(_why_not(facts, failure), tells=("torch",))


def _why_not(facts: Facts, failure: Failure | None) -> Finding:
    """What keeps torch from being imported."""
    error = facts.mapping("torch", "error")
    kind, message = text_of(error, "type"), text_of(error, "message")
    evidence = (
        reading.failure_evidence(failure)
        if failure is not None
        else (f"{kind}: {reading.shorten(message)}",)
    )
    found = culprits.culprits_found(facts, "torch")
    blamed = culprits.variables_found(facts, "torch")
    libraries = failure is None and _is_about_libraries(message)
    if blamed and not libraries:
        lines = culprits.settings_of(facts, blamed)
        return Finding(VARIABLE_KEEPS_TORCH, evidence + lines, {"variable": " ".join(blamed)})
    if found:
        return Finding(
            BROKEN_BY, evidence + culprits.places_of(found), culprits.params_of(facts, found)
        )
    if failure is not None:
        if failure.kind == "timeout":
            return Finding(IMPORT_HANGS, evidence)
        return Finding(IMPORT_CRASHES, evidence, {"error": failure.detail})
    if kind == "ModuleNotFoundError" and text_of(error, "name") == "torch":
        return Finding(NOT_INSTALLED, evidence)
    if library := _LIBRARY.search(message):
        return Finding(LIBRARY_MISSING, evidence, {"library": library[1]})
    if _is_about_libraries(message):
        names = ("LD_LIBRARY_PATH", "LD_PRELOAD")
        set_here = [name for name in names if reading.variable(facts, name)]
        variables = culprits.settings_of(facts, set_here)
        return Finding(UNDEFINED_SYMBOL, evidence + variables)
    short = f"{kind}: {reading.shorten(message, 120)}"
    return Finding(IMPORT_FAILS, evidence, {"error": short})


def _is_about_libraries(message: str) -> bool:
    """Whether the codes of libraries tell what it is about, and what to unset."""
    found = _LIBRARY.search(message) is not None
    return found or "undefined symbol" in message or "version `" in message


def _must_be_imported(facts: Facts) -> None:
    if not facts.mapping("torch", "torch"):
        raise CannotTell("torch", "torch was not imported")


@check("torch", ("torch", "packages"), (CPU_ONLY,))
def torch_has_cuda(facts: Facts) -> Iterator[Finding]:
    """torch was built for CUDA."""
    _must_be_imported(facts)
    version = facts.text("torch", "torch", "version")
    if version is not None and facts.get("torch", "torch", "cuda") is None:
        file = facts.text("torch", "torch", "file") or ""
        hip = facts.text("torch", "torch", "hip")
        evidence = ("torch.version.cuda: None", file, *([f"HIP {hip}"] if hip else []))
        yield Finding(CPU_ONLY, evidence, {"version": version})


@check("torch", ("torch", "packages", "reference"), (CUDNN,))
def cudnn_is_the_pinned_one(facts: Facts) -> Iterator[Finding]:
    """cuDNN loads, and is the version that came with torch."""
    _must_be_imported(facts)
    wanted = facts.integer("reference", "versions", "stack", "cudnn")
    problem = facts.text("torch", "torch", "cudnn", "error", "message")
    found = facts.integer("torch", "torch", "cudnn")
    version = facts.text("torch", "torch", "version") or ""
    pinned = reading.locked(facts, "torch")
    if problem:
        yield Finding(
            CUDNN,
            (reading.shorten(problem),),
            {"found": reading.shorten(problem, 60), "wanted": str(wanted or "?")},
        )
    elif (
        found is not None
        and wanted is not None
        and found != wanted
        and reading.without_local(version) == pinned
    ):
        libraries = facts.mapping("torch", "torch", "libraries")
        paths = tuple(
            path
            for name, path in libraries.items()
            if name.startswith("libcudnn.so") and isinstance(path, str)
        )
        yield Finding(CUDNN, paths, {"found": str(found), "wanted": str(wanted)})


@check("torch", ("torch", "packages", "reference"), (NUMPY,))
def numpy_works_with_torch(facts: Facts) -> Iterator[Finding]:
    """A tensor can become a NumPy array."""
    _must_be_imported(facts)
    problem = facts.text("torch", "torch", "numpy", "error", "message")
    if problem is None or facts.flag("torch", "torch", "numpy_installed") is False:
        return
    numpy = reading.effective(facts).get("numpy")
    base = reading.locked(facts, "numpy")
    evidence = [reading.shorten(problem)]
    evidence += [reading.shorten(text) for text in facts.texts("torch", "warnings")[:2]]
    if numpy is not None:
        evidence.append(f"numpy {numpy.version} in {numpy.directory} (base: {base})")
    yield Finding(NUMPY, tuple(evidence), {"error": reading.shorten(problem, 100)})


CHECKS = (torch_imports, torch_has_cuda, cudnn_is_the_pinned_one, numpy_works_with_torch)
