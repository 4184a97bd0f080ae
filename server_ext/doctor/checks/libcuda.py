"""Does CUDA's driver library load and start? Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ...i18n import N_
from ..facts import Facts, text_of
from ..findings import CannotTell, Code, Finding, check
from . import reading

NO_LIBRARY = Code(
    "GC131",
    "libcuda",
    "blocker",
    "instructor",
    N_("The CUDA driver library (libcuda.so.1) is missing in the container."),
    N_("Tell your instructor: containers need the driver capability “compute”."),
    stops=True,
)
TOO_OLD = Code(
    "GC132",
    "libcuda",
    "blocker",
    "instructor",
    N_("The host's driver is too old: it can do CUDA {driver}, torch needs CUDA {torch}."),
    N_("Use the image's own torch; if this is it, the instructor must update the host's driver."),
    stops=True,
)
NO_DEVICE = Code(
    "GC133",
    "libcuda",
    "blocker",
    "you",
    N_("CUDA finds no GPU although its device nodes are here."),
    N_("Restart the server; if it stays so, tell your instructor."),
    stops=True,
)
LIBRARY_MISMATCH = Code(
    "GC134",
    "libcuda",
    "blocker",
    "instructor",
    N_("libcuda and the driver in the host's kernel do not fit together (error 803)."),
    N_("Tell your instructor: the host needs a reboot, or a stray libcuda must go."),
    stops=True,
)
COMPAT = Code(
    "GC135",
    "libcuda",
    "blocker",
    "you",
    N_("A CUDA compatibility library is used on a card that does not support it (error 804)."),
    N_("Unset LD_LIBRARY_PATH, so that the driver's own libcuda is used."),
    stops=True,
)
FABRIC = Code(
    "GC136",
    "libcuda",
    "blocker",
    "instructor",
    N_("The GPU's system is not initialized yet (error 802)."),
    N_("Tell your instructor: nvidia-fabricmanager must run on the host."),
    stops=True,
)
HANGS = Code(
    "GC137",
    "libcuda",
    "blocker",
    "instructor",
    N_("CUDA hangs while it starts."),
    N_("Tell your instructor: the GPU must be reset, or its host rebooted."),
    stops=True,
)
BUSY = Code(
    "GC138",
    "libcuda",
    "blocker",
    "instructor",
    N_("CUDA may not use the GPU: it is kept for another program (error 46)."),
    N_("End other kernels and runs on the GPU; if there are none, tell your instructor."),
    stops=True,
)
STUB = Code(
    "GC130",
    "libcuda",
    "blocker",
    "you",
    N_("A stub takes the place of CUDA's driver library (error 34): {library}."),
    N_("Unset LD_LIBRARY_PATH, so that the driver's own libcuda is used."),
    stops=True,
)
FAILS = Code(
    "GC139",
    "libcuda",
    "blocker",
    "you",
    N_("CUDA cannot start: {error}."),
    N_("Restart the server; if it stays so, tell your instructor."),
    stops=True,
)

# by CUresult
BY_CODE = {
    34: STUB,
    46: BUSY,
    100: NO_DEVICE,
    802: FABRIC,
    803: LIBRARY_MISMATCH,
    804: COMPAT,
}
# not initialized, a damaged memory, a refusal of the host's operating system, a multi-process
# service of the host's that does not answer: nothing in a container changes them
_OF_THE_HOST = {3, 214, 304, *range(805, 810)}


@check(
    "libcuda",
    ("libcuda", "system", "environment"),
    (NO_LIBRARY, STUB, BUSY, NO_DEVICE, LIBRARY_MISMATCH, COMPAT, FABRIC, HANGS, FAILS),
)
def cuda_starts(facts: Facts) -> Iterator[Finding]:
    """libcuda loads, and cuInit succeeds."""
    trouble = reading.library_trouble(
        facts, "libcuda", missing=NO_LIBRARY, hangs=HANGS, fails=FAILS
    )
    if trouble is not None:
        yield trouble
        return
    reading.require(facts, "libcuda", "init", "code")
    code = facts.integer("libcuda", "init", "code") or 0
    if code:
        text = facts.text("libcuda", "init", "text") or facts.text("libcuda", "init", "name")
        path = facts.text("libcuda", "library", "path") or "libcuda.so.1"
        evidence = (f"cuInit: {code} {text or ''}".strip(), path)
        params = {"error": f"{text or 'error'} ({code})", "library": path}
        found = Finding(BY_CODE.get(code, FAILS), evidence, params, tells=("libcuda",))
        if found.code is LIBRARY_MISMATCH and _is_users_own(facts, path):
            found = replace(found, who="you")
        elif found.code is FAILS and code in _OF_THE_HOST:
            found = replace(found, who="instructor")
        yield found


def _is_users_own(facts: Facts, path: str) -> bool:
    """Whether a libcuda comes from a folder that the user's LD_LIBRARY_PATH names."""
    return any(
        path.startswith(text_of(entry, "directory").rstrip("/") + "/")
        for entry in facts.objects("system", "library_path")
        if text_of(entry, "directory")
    )


@check("libcuda", ("libcuda", "torch", "reference", "packages"), (TOO_OLD,))
def driver_is_new_enough(facts: Facts) -> Iterator[Finding]:
    """The driver supports the major version of CUDA that torch was built for."""
    if facts.text("libcuda", "library", "error"):
        raise CannotTell("libcuda", "there is no libcuda")
    reading.require(facts, "libcuda", "version")
    driver = facts.integer("libcuda", "version")
    wanted = facts.text("torch", "torch", "cuda") or facts.text(
        "reference", "versions", "stack", "cuda"
    )
    if driver and not _runs(driver, wanted):
        # where the image's torch would do, it is the one that was put in front of it
        pinned = facts.text("reference", "versions", "stack", "cuda")
        yield Finding(
            TOO_OLD,
            (f"cuDriverGetVersion: {driver}", f"torch.version.cuda: {wanted}"),
            {"driver": f"{driver // 1000}.{driver % 1000 // 10}", "torch": wanted or ""},
            who="you" if pinned and _runs(driver, pinned) else None,
        )


def _runs(driver: int, cuda: str | None) -> bool:
    """Whether a driver (12080 for 12.8) runs what was built for this CUDA: within a major version,
    an older driver runs newer builds (minor version compatibility).
    """
    major = (cuda or "").split(".")[0]
    return not major.isdigit() or driver >= int(major) * 1000


CHECKS = (cuda_starts, driver_is_new_enough)
