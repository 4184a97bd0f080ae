"""Can the kernel start at all? Pure."""

from __future__ import annotations

import shlex
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
    N_("Undo what was last changed in its environment; the image's can be reset, and work stays."),
    stops=True,
)
VARIABLE_KEEPS_PYTHON = Code(
    "GC221",
    "kernel",
    "blocker",
    "you",
    N_("{variable} keeps the kernel's Python from starting."),
    N_("Unset {variable} where it is set: a dotfile, or the kernel's settings."),
    "unset {variable}",
    stops=True,
)
NO_IPYKERNEL = Code(
    "GC204",
    "kernel",
    "blocker",
    "you",
    N_("Kernels cannot start: ipykernel cannot be imported."),
    N_("Reset the environment; your files in work stay."),
)
OWN_PYTHON_MISSING = Code(
    "GC209",
    "kernel",
    "blocker",
    "you",
    N_("The Python of your own kernel {kernel} is missing: {python}."),
    N_("Put that Python back, or remove the kernel; “Python 3 (PyTorch 2.9)” works without it."),
    "jupyter kernelspec remove -y {kernel}",
    stops=True,
)
OWN_NO_IPYKERNEL = Code(
    "GC210",
    "kernel",
    "blocker",
    "you",
    N_("Your own kernel {kernel} cannot start: its Python cannot import ipykernel."),
    N_("Install ipykernel for that Python, or choose the kernel “Python 3 (PyTorch 2.9)”."),
    "{command}",
)
IPYKERNEL_BROKEN_BY = Code(
    "GC205",
    "kernel",
    "blocker",
    "you",
    N_("Kernels cannot start: {found} in your environment is in the way (the base has {base})."),
    N_("Take {package} out of your environment, so that the base's is used again."),
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


@check(
    "kernel",
    ("kernelspec", "reference"),
    (NO_KERNEL, NO_PYTHON, OWN_PYTHON_MISSING, NOT_EXAMINABLE),
)
def kernel_exists(facts: Facts) -> Iterator[Finding]:
    """The kernel spec exists and names a Python that exists."""
    kernel = facts.text("kernelspec", "name") or ""
    if facts.flag("kernelspec", "found") is False:
        available = ", ".join(facts.texts("kernelspec", "available")) or "-"
        error = facts.text("kernelspec", "error")
        params = {"kernel": kernel, "available": available}
        yield Finding(NO_KERNEL, (error,) if error else (), params, tells=_IN_KERNEL)
    elif facts.texts("kernelspec", "problems"):
        return  # told by starting.py
    elif facts.flag("kernelspec", "is_python") is False:
        argv = (reading.shorten(" ".join(facts.texts("kernelspec", "argv"))),)
        yield Finding(NOT_EXAMINABLE, argv, {"kernel": kernel}, tells=_IN_KERNEL)
    elif facts.flag("kernelspec", "python_exists") is False:
        python = facts.text("kernelspec", "executable") or ""
        problem = facts.text("kernelspec", "python_problem") or ""
        lines = (problem,) if problem else ()
        own = reading.is_users_own_kernel(facts)
        params = {"python": python} | ({"kernel": kernel} if own else {})
        yield Finding(OWN_PYTHON_MISSING if own else NO_PYTHON, lines, params, tells=_IN_KERNEL)
    else:
        reading.require(facts, "kernelspec", "python_exists")


@check(
    "kernel",
    ("kernelspec", "python", "start_variables", "environment"),
    (PYTHON_DOES_NOT_START, VARIABLE_KEEPS_PYTHON),
)
def python_starts(facts: Facts) -> Iterator[Finding]:
    """The kernel's Python starts and runs a script."""
    failure = facts.failure("python")
    if failure is None:
        reading.require(facts, "python", "executable")
    elif facts.flag("kernelspec", "python_exists"):
        # a container that is full may start no other Python, either
        if not reading.says_no_room(failure.kind, failure.detail):
            evidence = reading.failure_evidence(failure)
            names = facts.texts("start_variables", "culprits")
            if names:
                values = {name: reading.variable(facts, name) for name in names}
                evidence += tuple(
                    name if value is None else f"{name}={reading.shorten(value, 80)}"
                    for name, value in values.items()
                )
                params = {"variable": " ".join(names)}
                yield Finding(VARIABLE_KEEPS_PYTHON, evidence, params, tells=_IN_KERNEL)
            else:
                yield Finding(PYTHON_DOES_NOT_START, evidence, tells=_IN_KERNEL)


@check(
    "kernel",
    (
        "kernelspec",
        "python",
        "ipykernel",
        "ipykernel_culprit",
        "environment",
        "packages",
        "reference",
    ),
    (NO_IPYKERNEL, OWN_NO_IPYKERNEL, IPYKERNEL_BROKEN_BY),
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
    if culprits.variables_found(facts, "ipykernel"):
        return  # told by starting.py
    if found:
        params = culprits.params_of(facts, found)
        yield Finding(
            IPYKERNEL_BROKEN_BY, evidence + culprits.places_of(found), params, tells=tells
        )
    elif reading.is_users_own_kernel(facts):
        kernel = facts.text("kernelspec", "name") or ""
        params = {"kernel": kernel, "command": _install_ipykernel(facts)}
        yield Finding(OWN_NO_IPYKERNEL, evidence, params, tells=tells)
    else:
        yield Finding(NO_IPYKERNEL, evidence, tells=tells)


def _install_ipykernel(facts: Facts) -> str:
    """By the terminal's pip, for the kernel's Python may have none; "" where that may install
    nothing: it is the system's.
    """
    python = facts.text("kernelspec", "executable")
    if not python or not reading.takes_packages(facts):
        return ""
    words = ("pip", "--python", python, "install", "--force-reinstall", "ipykernel")
    return shlex.join(words)


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
    own = facts.text("kernelspec", "name") == reading.IMAGES_KERNEL
    lines = (f"{executable} (Python {version})", f"sys.prefix: {prefix}, not {expected}")
    yield Finding(IMAGES_KERNEL_DIFFERS if own else OTHER_PYTHON, lines, {"python": executable})


CHECKS = (kernel_exists, python_starts, ipykernel_imports, kernel_uses_the_images_python)
