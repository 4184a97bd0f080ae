"""Is what was installed whole and readable? Pure."""

from __future__ import annotations

from collections.abc import Iterator

from ...i18n import N_
from ..facts import Facts, text_of
from ..findings import Code, Finding, check
from . import reading

UNREADABLE = Code(
    "GC335",
    "packages",
    "blocker",
    "you",
    N_("Packages in {directory} cannot be read."),
    N_("Give yourself the right to read it again, or reset the environment."),
    "chmod -R u+rwX {directory}",
)
IMAGE_DAMAGED = Code(
    "GC336",
    "packages",
    "degraded",
    "instructor",
    N_("Packages of the image are missing: {packages}."),
    N_("Tell your instructor: the image is damaged, and must be pulled or built again."),
)
NO_PIP = Code(
    "GC337",
    "packages",
    "degraded",
    "you",
    N_("The kernel's environment has no pip: nothing can be installed or uninstalled."),
    N_("Put it back with `python -m ensurepip`, or reset the environment."),
    "{python} -m ensurepip",
)
FOREIGN = Code(
    "GC324",
    "torch",
    "degraded",
    "you",
    N_("torch uses a CUDA library that is not its own: {libraries}."),
    N_("Unset LD_LIBRARY_PATH and LD_PRELOAD where they are set, then restart the kernel."),
    "unset LD_LIBRARY_PATH LD_PRELOAD",
)
# without these torch fails in ways that name something else
_NEEDED = ("torch", "torchvision", "torchaudio", "triton", "numpy", "ipykernel")


@check("packages", ("packages",), (UNREADABLE,))
def packages_can_be_read(facts: Facts) -> Iterator[Finding]:
    """Every folder in which Python looks can be read."""
    reading.require(facts, "packages", "directories")
    for folder in facts.objects("packages", "directories"):
        error = text_of(folder, "error")
        if error and folder.get("base") is not True:
            directory = text_of(folder, "directory")
            yield Finding(UNREADABLE, (error,), {"directory": directory})


@check("packages", ("packages", "reference"), (IMAGE_DAMAGED,))
def the_images_packages_are_there(facts: Facts) -> Iterator[Finding]:
    """The base has what it was made with, of torch's family and its CUDA libraries."""
    if reading.pinned_torch(facts) is None:
        return
    reading.require(facts, "packages", "directories")
    present = {item.name for item in reading.distributions(facts) if item.in_base}
    if not present:
        return  # a kernel that does not look into the base
    wanted = [
        name
        for name in facts.mapping("reference", "lock")
        if name in _NEEDED or name.startswith("nvidia-")
    ]
    missing = sorted(name for name in wanted if name not in present)
    if missing:
        evidence = tuple(f"{name} {reading.locked(facts, name)}" for name in missing[:10])
        yield Finding(IMAGE_DAMAGED, evidence, {"packages": ", ".join(missing)})


@check("packages", ("packages", "python", "reference"), (NO_PIP,))
def pip_is_there(facts: Facts) -> Iterator[Finding]:
    """What the doctor offers to uninstall can be uninstalled in a terminal."""
    reading.require(facts, "packages", "pip")
    own = facts.text("python", "prefix") == facts.text("reference", "environment_prefix")
    based = any(folder.get("base") is True for folder in facts.objects("packages", "directories"))
    if own and not based:
        return  # pip is the base's, as torch is, whose absence is told
    if not reading.takes_packages(facts):
        return  # the system's own: with pip, too, nothing could be installed there
    if facts.flag("packages", "pip", "module") is False:
        python = facts.text("python", "executable") or "python"
        yield Finding(NO_PIP, (f"{python}: no module named pip",), {"python": python})


@check("torch", ("torch", "packages", "reference", "python"), (FOREIGN,))
def libraries_are_torchs_own(facts: Facts) -> Iterator[Finding]:
    """The CUDA libraries that importing torch loaded lie beside it."""
    reading.require(facts, "packages", "directories")
    if reading.pinned_torch(facts) is None or not facts.mapping("torch", "torch"):
        return
    own = [text_of(folder, "directory") for folder in facts.objects("packages", "directories")]
    prefix = facts.text("python", "prefix") or ""
    if prefix.count("/") > 1 and not prefix.startswith(("/usr/", "/lib/")):
        own.append(prefix)
    if not any(own):
        return
    foreign = {
        name: path
        for name, path in facts.mapping("torch", "torch", "libraries").items()
        if isinstance(path, str)
        and not any(path.startswith(folder.rstrip("/") + "/") for folder in own if folder)
    }
    if foreign:
        names = ", ".join(sorted(foreign))
        yield Finding(FOREIGN, tuple(sorted(foreign.values()))[:10], {"libraries": names})


CHECKS = (
    packages_can_be_read,
    the_images_packages_are_there,
    pip_is_there,
    libraries_are_torchs_own,
)
