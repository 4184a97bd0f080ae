"""Can the kernel start at all? Pure."""

from __future__ import annotations

from collections.abc import Iterator

from ...i18n import N_
from ..facts import Facts, text_of
from ..findings import Code, Finding, check
from . import culprits, reading

NO_KERNEL = Code(
    "GC201",
    "kernel",
    "blocker",
    "you",
    N_("There is no kernel named {kernel}."),
    N_("Choose one of the kernels that exist: {available}."),
    stops=True,
)
NO_PYTHON = Code(
    "GC202",
    "kernel",
    "blocker",
    "you",
    N_("The kernel's Python is missing: {python}."),
    N_("Reset the environment; your files in work stay."),
    stops=True,
)
PYTHON_DOES_NOT_START = Code(
    "GC203",
    "kernel",
    "blocker",
    "you",
    N_("The kernel's Python does not start."),
    N_("Undo what was last changed in the environment, or reset it; your files in work stay."),
    stops=True,
)
NO_IPYKERNEL = Code(
    "GC204",
    "kernel",
    "blocker",
    "you",
    N_("Kernels cannot start: ipykernel cannot be imported."),
    N_("Reset the environment, or install ipykernel into it again."),
    "pip install --force-reinstall ipykernel",
)
IPYKERNEL_BROKEN_BY = Code(
    "GC205",
    "kernel",
    "blocker",
    "you",
    N_("Kernels cannot start: {found} in your environment is in the way (the base has {base})."),
    N_("Uninstall {package} from your environment, so that the base's is used again."),
    "pip uninstall -y {package}",
)
OTHER_PYTHON = Code(
    "GC206",
    "kernel",
    "advice",
    "you",
    N_("This kernel uses another Python than the image's: {python}."),
    N_("Choose the kernel “Python 3 (PyTorch 2.9)” for work with the GPU."),
)
IMAGES_KERNEL_DIFFERS = Code(
    "GC208",
    "kernel",
    "blocker",
    "you",
    N_("The image's own kernel runs another Python than its environment's: {python}."),
    N_("Reset the environment; your files in work stay."),
)
NOT_EXAMINABLE = Code(
    "GC207",
    "kernel",
    "degraded",
    "you",
    N_("The doctor cannot look into the kernel {kernel}: it is not started by a Python directly."),
    N_("Examine the kernel “Python 3 (PyTorch 2.9)” instead."),
    stops=True,
)


# where the kernel has no Python, these cannot tell anything
_IN_KERNEL = ("python", "packages", "ipykernel", "torch")
# the name of "Python 3 (PyTorch 2.9)"
IMAGES_KERNEL = "python3"


@check("kernel", ("kernelspec",), (NO_KERNEL, NO_PYTHON, NOT_EXAMINABLE))
def kernel_exists(facts: Facts) -> Iterator[Finding]:
    """The kernel spec exists and names a Python that exists."""
    kernel = facts.text("kernelspec", "name") or ""
    if facts.flag("kernelspec", "found") is False:
        available = ", ".join(facts.texts("kernelspec", "available")) or "-"
        error = facts.text("kernelspec", "error")
        params = {"kernel": kernel, "available": available}
        yield Finding(NO_KERNEL, (error,) if error else (), params, tells=_IN_KERNEL)
    elif facts.flag("kernelspec", "is_python") is False:
        argv = (reading.shorten(" ".join(facts.texts("kernelspec", "argv"))),)
        yield Finding(NOT_EXAMINABLE, argv, {"kernel": kernel}, tells=_IN_KERNEL)
    elif facts.flag("kernelspec", "python_exists") is False:
        python = facts.text("kernelspec", "executable") or ""
        problem = facts.text("kernelspec", "python_problem") or ""
        lines = (problem,) if problem else ()
        yield Finding(NO_PYTHON, lines, {"python": python}, tells=_IN_KERNEL)
    else:
        reading.require(facts, "kernelspec", "python_exists")


@check("kernel", ("kernelspec", "python"), (PYTHON_DOES_NOT_START,))
def python_starts(facts: Facts) -> Iterator[Finding]:
    """The kernel's Python starts and runs a script."""
    failure = facts.failure("python")
    if failure is None:
        reading.require(facts, "python", "executable")
    elif facts.flag("kernelspec", "python_exists"):
        # a container that is full may start no other Python, either
        if not reading.says_no_room(failure.kind, failure.detail):
            evidence = reading.failure_evidence(failure)
            yield Finding(PYTHON_DOES_NOT_START, evidence, tells=_IN_KERNEL)


@check(
    "kernel",
    ("kernelspec", "python", "ipykernel", "ipykernel_culprit", "packages", "reference"),
    (NO_IPYKERNEL, IPYKERNEL_BROKEN_BY),
)
def ipykernel_imports(facts: Facts) -> Iterator[Finding]:
    """ipykernel, which every kernel is, can be imported."""
    failure = facts.failure("ipykernel")
    if facts.failure("python") is not None or (failure and failure.kind == "not-started"):
        return  # which says nothing about ipykernel
    if failure is None:
        reading.require(facts, "ipykernel", "ok")
        if facts.flag("ipykernel", "ok") is not False:
            return
    tells = ("ipykernel",)
    error = facts.mapping("ipykernel", "error")
    evidence = (
        reading.failure_evidence(failure)
        if failure is not None
        else (f"{text_of(error, 'type')}: {reading.shorten(text_of(error, 'message'))}",)
    )
    found = culprits.culprits_found(facts, "ipykernel")
    if found:
        params = params_of(facts, found)
        yield Finding(IPYKERNEL_BROKEN_BY, evidence + places_of(found), params, tells=tells)
    else:
        yield Finding(NO_IPYKERNEL, evidence, tells=tells)


def params_of(facts: Facts, found: tuple[culprits.Suspect, ...]) -> dict[str, str]:
    """Culprits for a sentence and for a command, and the base's versions of them."""
    bases = [reading.locked(facts, suspect.name) for suspect in found]
    return {
        "package": " ".join(suspect.name for suspect in found),
        "found": ", ".join(f"{suspect.name} {suspect.version}".strip() for suspect in found),
        "base": ", ".join(version for version in bases if version is not None) or "-",
    }


def places_of(found: tuple[culprits.Suspect, ...]) -> tuple[str, ...]:
    """Where the culprits are."""
    return tuple(
        f"{suspect.name} {suspect.version}".strip() + f" in {suspect.directory}"
        for suspect in found
    )


@check("kernel", ("kernelspec", "python", "reference"), (OTHER_PYTHON, IMAGES_KERNEL_DIFFERS))
def kernel_uses_the_images_python(facts: Facts) -> Iterator[Finding]:
    """The image's own kernel runs the environment's Python."""
    expected = facts.text("reference", "environment_prefix")
    if expected is None:
        return
    reading.require(facts, "python", "prefix")
    prefix = facts.text("python", "prefix")
    if prefix is None or prefix == expected:
        return
    executable = facts.text("python", "executable") or prefix
    version = facts.text("python", "version") or "?"
    # another kernel may well have a Python of its own, and work; this one is promised to be the
    # environment's
    own = facts.text("kernelspec", "name") == IMAGES_KERNEL
    lines = (f"{executable} (Python {version})", f"sys.prefix: {prefix}, not {expected}")
    yield Finding(IMAGES_KERNEL_DIFFERS if own else OTHER_PYTHON, lines, {"python": executable})


CHECKS = (kernel_exists, python_starts, ipykernel_imports, kernel_uses_the_images_python)
