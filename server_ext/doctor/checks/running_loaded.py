"""Is what a running kernel has loaded, and was started with, what a new one would get? Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from ...i18n import N_
from ..facts import Facts, text_of
from ..findings import Code, Finding, check
from . import reading
from .running import said, shown

REPLACED = Code(
    "GC711",
    "running",
    "degraded",
    "you",
    N_("Packages were replaced after this kernel had imported them: {packages}."),
    N_("Restart the kernel, so that it uses what is installed now."),
)
DELETED = Code(
    "GC712",
    "running",
    "degraded",
    "you",
    N_("Files that this kernel runs from were deleted or replaced: {files}."),
    N_("Restart the kernel, so that it uses what is there now."),
)
FOREIGN = Code(
    "GC713",
    "running",
    "degraded",
    "you",
    N_("This kernel has loaded CUDA libraries that are not torch's own: {libraries}."),
    N_(
        "Unset LD_LIBRARY_PATH and LD_PRELOAD where they are set, uninstall what brings the "
        "libraries, then shut the kernel down and start it again."
    ),
)
OUTDATED = Code(
    "GC714",
    "running",
    "advice",
    "you",
    N_("A new kernel would get other settings than this one: {names}."),
    N_("If you want the new settings, shut the kernel down and start it again."),
)

# names of people's settings only: a program that starts the kernel may change the others
_OF_THE_START = frozenset({"PATH", "VIRTUAL_ENV", "CONDA_PREFIX"})
_INSTALLED = ("/site-packages/", "/dist-packages/", "/lib-dynload/")
_TORCH = re.compile(r"^(.*)/torch/lib/libtorch(_cpu|_cuda|_python)?\.so$")
_PREFIX = re.compile(r"^(.*)/lib/python3[0-9.]*/(site|dist)-packages$")
_HASH = re.compile(r"-[0-9a-f]{8}(?=\.so)")


@check("running", ("running", "asked", "torch", "packages"), (REPLACED,))
def loaded_packages_are_installed(facts: Facts) -> Iterator[Finding]:
    """What the kernel has imported is what an import would find now."""
    if not said(facts):
        return
    installed = reading.effective(facts)
    lines, names = [], []
    for name, module in sorted(facts.mapping("asked", "modules").items()):
        if not isinstance(module, Mapping):
            continue
        loaded, place = text_of(module, "version"), text_of(module, "file")
        now = installed[name].version if name in installed else None
        where = installed[name].directory if name in installed else ""
        differs = now is not None and reading.without_local(now) != reading.without_local(loaded)
        fresh = facts.text("torch", "torch", "version") if name == "torch" else None
        if fresh is not None:  # what a new kernel imports says more than what is installed
            now, where = fresh, facts.text("torch", "torch", "file") or where
            differs = fresh != loaded or (where.startswith("/") and where != place)
        if differs:
            names.append(f"{name} {loaded}")
            lines.append(f"{name}: {loaded} of {place} is loaded, {now} of {where} is installed")
    if names:
        yield Finding(REPLACED, tuple(lines), {"packages": ", ".join(names)})


@check("running", ("running",), (DELETED,))
def loaded_files_are_there(facts: Facts) -> Iterator[Finding]:
    """Neither the kernel's Python nor a library of a package was deleted under it."""
    files = [
        path
        for path in facts.texts("running", "deleted")
        # a library that was compiled for once is deleted as soon as it is loaded
        if any(part in path for part in _INSTALLED)
    ]
    executable = facts.text("running", "executable")
    if facts.flag("running", "executable_deleted") and executable:
        files.insert(0, executable)
    if files:
        more = f" … ({len(files)})" if len(files) > 3 else ""
        yield Finding(DELETED, tuple(files[:10]), {"files": ", ".join(files[:3]) + more})


@check("running", ("running",), (FOREIGN,))
def loaded_libraries_are_torchs(facts: Facts) -> Iterator[Finding]:
    """The kernel has one copy of each CUDA library, and torch's."""
    paths = [text_of(item, "path") for item in facts.objects("running", "libraries")]
    site = next((found[1] for path in paths if (found := _TORCH.match(path))), None)
    if site is None:
        return  # without torch, whose they are is nobody's concern
    found = _PREFIX.match(site)
    own = (f"{site}/", *((f"{found[1]}/lib/",) if found else ()))
    names: dict[str, list[str]] = {}
    for path in paths:
        name = _HASH.sub("", path.rpartition("/")[2])
        if not name.startswith("libcuda.so"):  # the driver's, which comes from the host
            names.setdefault(name, []).append(path)
    foreign = {
        name: places
        for name, places in names.items()
        if len(places) > 1
        or not any(part in places[0] for part in _INSTALLED)
        and not places[0].startswith(own)
    }
    if foreign:
        lines = tuple(path for places in foreign.values() for path in places)
        yield Finding(FOREIGN, lines[:20], {"libraries": ", ".join(sorted(foreign)[:6])})


@check("running", ("running", "kernelspec"), (OUTDATED,))
def a_new_kernel_would_be_the_same(facts: Facts) -> Iterator[Finding]:
    """The kernel has the variables and the Python that its settings name now."""
    if not isinstance(facts.get("running", "spec_variables"), Mapping):
        return
    has, would = (facts.mapping("running", key) for key in ("variables", "spec_variables"))
    lines, names = [], []
    for name in sorted({*has, *would} - _OF_THE_START):
        if has.get(name) != would.get(name):
            names.append(name)
            lines.append(f"{name}: {shown(has.get(name))}, a new kernel: {shown(would.get(name))}")
    python = facts.text("running", "spec_python")
    executable = facts.text("kernelspec", "executable")
    if python and executable and python != executable:
        names.append("Python")
        lines.append(f"Python: {executable}, a new kernel: {python}")
    if names:
        yield Finding(OUTDATED, tuple(lines), {"names": ", ".join(names)})


CHECKS = (
    loaded_packages_are_installed,
    loaded_files_are_there,
    loaded_libraries_are_torchs,
    a_new_kernel_would_be_the_same,
)
