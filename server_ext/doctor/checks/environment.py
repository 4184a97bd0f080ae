"""What comes before the image's own files: variables and stray files. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ...i18n import N_
from ..facts import Facts, text_of
from ..findings import Code, Finding, check
from . import reading, starting

USER_SITE = Code(
    "GC211",
    "environment",
    "degraded",
    "you",
    N_("Packages in {directory} come before the image's."),
    N_("Remove that folder, or set PYTHONNOUSERSITE=1, and install with pip as usual."),
)
LIBRARY_PATH = Code(
    "GC212",
    "environment",
    "degraded",
    "you",
    N_("LD_LIBRARY_PATH puts other CUDA libraries before torch's own."),
    N_("Unset LD_LIBRARY_PATH where it is set (a dotfile, or the kernel's settings)."),
)
PRELOAD = Code(
    "GC213",
    "environment",
    "degraded",
    "you",
    N_("LD_PRELOAD loads {library} into every program."),
    N_("Unset LD_PRELOAD where it is set, unless you know that you need it."),
)
PYTHONPATH = Code(
    "GC214",
    "environment",
    "degraded",
    "you",
    N_("PYTHONPATH puts other versions of {modules} before the image's."),
    N_("Unset PYTHONPATH where it is set, or remove these modules from its folders."),
)
WORK_SHADOWS = Code(
    "GC215",
    "environment",
    "degraded",
    "you",
    N_("In your work folder, imports find your own file instead of the real module: {files}."),
    N_("Give every such file another name, and restart the kernel."),
)


_NOT_THE_DRIVERS = re.compile(r"/(stubs|compat)(/|$)")


@check("environment", ("python", "packages"), (USER_SITE,))
def user_site_is_unused(facts: Facts) -> Iterator[Finding]:
    """No packages in ~/.local shadow the image's."""
    reading.require(facts, "python", "user_site")
    path = facts.text("python", "user_site", "path")
    if not path or not facts.flag("python", "user_site", "on_path"):
        return
    found = [item for item in reading.distributions(facts) if item.directory == path]
    if found:
        names = ", ".join(f"{item.name} {item.version}" for item in found[:10])
        yield Finding(USER_SITE, (names,), {"directory": path})


@check("environment", ("system", "environment"), (LIBRARY_PATH,))
def library_path_has_no_cuda(facts: Facts) -> Iterator[Finding]:
    """LD_LIBRARY_PATH brings no libraries that torch has its own of."""
    reading.require(facts, "system", "library_path")
    evidence = []
    for entry in facts.objects("system", "library_path"):
        libraries = entry.get("libraries")
        directory = text_of(entry, "directory")
        # the driver's own libraries are meant to come from the host, but not these that CUDA's
        # toolkit has: they only look like it, or are for other cards
        own = () if _NOT_THE_DRIVERS.search(directory) else ("libcuda.so", "libnvidia-ml.so")
        names = [
            name
            for name in (libraries if isinstance(libraries, list) else [])
            if isinstance(name, str) and not (own and name.startswith(own))
        ]
        if names:
            evidence.append(f"{directory}: {', '.join(names[:6])}")
    if evidence:
        yield Finding(LIBRARY_PATH, tuple(evidence))


_HARMLESS = re.compile(r"lib(jemalloc|tcmalloc(_minimal)?|mimalloc|iomp5|gomp)(-\w+)?\.so(\.|$)")


@check("environment", ("system", "environment"), (PRELOAD,))
def nothing_is_preloaded(facts: Facts) -> Iterator[Finding]:
    """LD_PRELOAD brings nothing but memory allocators and OpenMP, which torch works with."""
    reading.require(facts, "system", "preload")
    for entry in facts.objects("system", "preload"):
        library = text_of(entry, "library")
        if entry.get("exists") is not False and _HARMLESS.match(library.rpartition("/")[2]):
            continue
        missing = " (missing)" if entry.get("exists") is False else ""
        yield Finding(PRELOAD, (f"LD_PRELOAD={library}{missing}",), {"library": library})


@check("environment", ("environment", "packages", "reference"), (PYTHONPATH,))
def pythonpath_shadows_nothing(facts: Facts) -> Iterator[Finding]:
    """PYTHONPATH has no other versions of what the image has."""
    parts = (reading.variable(facts, "PYTHONPATH") or "").split(":")
    folders = {part.rstrip("/") for part in parts if part}
    if not folders:
        return
    reading.require(facts, "packages", "directories")
    found: dict[str, str] = {}
    for item in reading.distributions(facts):
        base = reading.locked(facts, item.name)
        if item.directory in folders and not item.in_base and base not in (None, item.version):
            found[item.name] = f"{item.name} {item.version} in {item.directory} (base: {base})"
    if found:
        yield Finding(PYTHONPATH, tuple(found.values())[:10], {"modules": ", ".join(found)})


@check("environment", ("python", "start", "kernelspec"), (WORK_SHADOWS,))
def work_folder_shadows_nothing(facts: Facts) -> Iterator[Finding]:
    """No file in the work folder has the name of a module that torch or a kernel imports."""
    reading.require(facts, "python", "shadows")
    told = starting.files_in_the_way(facts)
    files = tuple(file for file in facts.texts("python", "shadows") if file not in told)
    if files:
        yield Finding(WORK_SHADOWS, files, {"files": ", ".join(files)})


CHECKS = (
    user_site_is_unused,
    library_path_has_no_cuda,
    nothing_is_preloaded,
    pythonpath_shadows_nothing,
    work_folder_shadows_nothing,
)
