"""Variables that programs read, and that are set to what they cannot use. Pure."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping

from ...i18n import N_
from ..facts import Facts, text_of
from ..findings import Code, Finding, check
from . import reading

LAUNCHERS = Code(
    "GC222",
    "environment",
    "degraded",
    "you",
    N_("Variables of a distributed run are set for single programs, too: {names}."),
    N_("Unset them where they are set; torchrun sets them for each rank by itself."),
    "unset {names}",
)
ALLOCATOR = Code(
    "GC224",
    "torch",
    "blocker",
    "you",
    N_("torch does not understand {variable}={value}: using the GPU fails."),
    N_("Unset {variable}, or mend its value, then restart the kernel."),
    "unset {variable}",
)
DEBUGGING = Code(
    "GC225",
    "environment",
    "advice",
    "you",
    N_("Variables that make the GPU slow are set: {names}."),
    N_("Unset them when you have found the fault for which they were set."),
    "unset {names}",
)
THREADS = Code(
    "GC226",
    "environment",
    "advice",
    "you",
    N_("{variable}={value} is no number of threads: programs do not use it."),
    N_("Unset {variable}, or set it to the number of CPUs that this server may use."),
    "unset {variable}",
)
ARCHITECTURES = Code(
    "GC227",
    "environment",
    "degraded",
    "you",
    N_("TORCH_CUDA_ARCH_LIST={value} is no list of compute capabilities: extensions do not build."),
    N_("Unset TORCH_CUDA_ARCH_LIST: extensions are then built for the card that is here."),
    "unset TORCH_CUDA_ARCH_LIST",
)
NOT_THERE = Code(
    "GC228",
    "environment",
    "degraded",
    "you",
    N_("{variable} names what is not there or cannot be read: {path}."),
    N_("Unset {variable} where it is set, or put in place what it names."),
    "unset {variable}",
)

OTHER_HOME = Code(
    "GC236",
    "environment",
    "degraded",
    "you",
    N_("HOME is {value}, not your home {home}: programs and kernels do not find what is in it."),
    N_("Do not set HOME: take it out of the dotfile or the kernel's settings that set it."),
    "export HOME={home}",
)
LOCALE = Code(
    "GC237",
    "environment",
    "advice",
    "you",
    N_("{variable} names a language that this server does not have: some programs end with it."),
    N_("Unset {variable}, or set it to C.UTF-8."),
    "unset {variable}",
)
PLOTS = Code(
    "GC238",
    "environment",
    "degraded",
    "you",
    N_("MPLBACKEND={value} is not for this server: plots fail."),
    N_("Unset MPLBACKEND: notebooks then show plots, and scripts can save them."),
    "unset MPLBACKEND",
)

# matplotlib's own that need no screen; others are given as module://NAME, or come with a package
_NO_SCREEN = frozenset(
    "agg cairo inline ipympl nbagg notebook pdf pgf ps svg template webagg widget".split()
)
# what torchrun gives each rank; the first three make a single program wait for others, or take a
# card that is not there
_WAITED_FOR = ("RANK", "LOCAL_RANK", "WORLD_SIZE")
_OF_A_RUN = (*_WAITED_FOR, "LOCAL_WORLD_SIZE", "GROUP_RANK", "MASTER_ADDR", "MASTER_PORT")

# name -> the values with which it makes every call wait, or keeps torch from its fast ways
_SLOW: Mapping[str, re.Pattern[str]] = {
    "CUDA_LAUNCH_BLOCKING": re.compile(r"0*[1-9]\d*"),
    "PYTORCH_NO_CUDA_MEMORY_CACHING": re.compile(r".+"),
    "TORCH_USE_CUDA_DSA": re.compile(r"0*[1-9]\d*"),
    "NVIDIA_TF32_OVERRIDE": re.compile(r"0"),
    "TORCH_COMPILE_DISABLE": re.compile(r"0*[1-9]\d*"),
    "TORCHDYNAMO_DISABLE": re.compile(r"0*[1-9]\d*"),
    "TORCH_DISTRIBUTED_DEBUG": re.compile(r"DETAIL", re.IGNORECASE),
}
_COUNTS = re.compile(r"\s*0*[1-9]\d{0,4}(\s*,\s*0*[1-9]\d{0,4})*\s*")
_ARCHITECTURE = re.compile(
    r"(\d+\.\d+[af]?|Kepler(\+Tesla)?|Maxwell(\+Tegra)?|Pascal|Volta|Turing|Ampere(\+Tegra)?|Ada|Hopper"
    r"|Blackwell(\+Tegra)?|Thor)(\+PTX)?",
    re.IGNORECASE,
)


@check("environment", ("environment",), (LAUNCHERS,))
def no_run_is_imitated(facts: Facts) -> Iterator[Finding]:
    """A single program is not told that it is one of many."""
    values = {name: reading.variable(facts, name) for name in _OF_A_RUN}
    if not any(values[name] for name in _WAITED_FOR):
        return
    found = {name: value for name, value in values.items() if value}
    lines = tuple(f"{name}={reading.shorten(value, 80)}" for name, value in found.items())
    yield Finding(LAUNCHERS, lines, {"names": " ".join(found)})


@check("torch", ("torch", "environment"), (ALLOCATOR,))
def allocator_is_set_well(facts: Facts) -> Iterator[Finding]:
    """torch understands the settings of its allocator."""
    said = facts.text("torch", "torch", "allocator", "error", "message")
    if said is None or facts.get("torch", "torch", "cuda") is None:
        return
    names = ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF")
    name = next((name for name in names if reading.variable(facts, name)), names[1])
    value = reading.shorten(reading.variable(facts, name) or "", 80)
    yield Finding(ALLOCATOR, (reading.shorten(said),), {"variable": name, "value": value})


@check("environment", ("environment",), (DEBUGGING,))
def nothing_slows_the_gpu(facts: Facts) -> Iterator[Finding]:
    """No variable is left that was set to look for a fault."""
    found = {
        name: value
        for name, slow in _SLOW.items()
        if (value := reading.variable(facts, name)) and slow.fullmatch(value.strip())
    }
    if found:
        lines = tuple(f"{name}={value}" for name, value in found.items())
        yield Finding(DEBUGGING, lines, {"names": " ".join(found)})


@check("environment", ("environment",), (THREADS,))
def threads_are_numbers(facts: Facts) -> Iterator[Finding]:
    """The variables for numbers of threads are such."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        value = reading.variable(facts, name)
        if value and not _COUNTS.fullmatch(value):
            shown = reading.shorten(value, 40)
            yield Finding(THREADS, (f"{name}={shown}",), {"variable": name, "value": shown})


@check("environment", ("environment",), (ARCHITECTURES,))
def architectures_are_known(facts: Facts) -> Iterator[Finding]:
    """TORCH_CUDA_ARCH_LIST lists compute capabilities."""
    value = reading.variable(facts, "TORCH_CUDA_ARCH_LIST")
    entries = re.split(r"[; ]+", (value or "").strip(" ;"))
    wrong = [entry for entry in entries if entry and not _ARCHITECTURE.fullmatch(entry)]
    if value and wrong and value.strip().lower() not in ("all", "common"):
        evidence = (f"not known: {reading.shorten(', '.join(wrong), 80)}",)
        yield Finding(ARCHITECTURES, evidence, {"value": reading.shorten(value, 60)})


@check("environment", ("resources",), (NOT_THERE,))
def what_variables_name_is_there(facts: Facts) -> Iterator[Finding]:
    """Files and folders that variables name can be read."""
    reading.require(facts, "resources", "missing_paths")
    found = facts.objects("resources", "missing_paths")
    if found:
        lines = tuple(f"{text_of(item, 'variable')}={text_of(item, 'path')}" for item in found)
        names = " ".join(text_of(item, "variable") for item in found)
        paths = ", ".join(text_of(item, "path") for item in found)
        yield Finding(NOT_THERE, lines, {"variable": names, "path": reading.shorten(paths, 200)})


@check("environment", ("python", "reference"), (OTHER_HOME,))
def home_is_the_users(facts: Facts) -> Iterator[Finding]:
    """HOME is the home that the account has."""
    value, account = (
        facts.text("python", "home", "variable"),
        facts.text("python", "home", "account"),
    )
    # outside the image, a service may well have another home than its account
    image = facts.text("reference", "environment_prefix") or ""
    if value is not None and account and image.startswith(account.rstrip("/") + "/"):
        if os.path.normpath(value) != os.path.normpath(account):
            params = {"value": value or '""', "home": account}
            yield Finding(OTHER_HOME, (f"HOME={value}",), params)


@check("environment", ("python",), (LOCALE,))
def languages_are_known(facts: Facts) -> Iterator[Finding]:
    """The variables for the language name one that the system has."""
    found = facts.objects("python", "locale")
    if found:
        lines = tuple(f"{text_of(item, 'variable')}={text_of(item, 'value')}" for item in found)
        names = " ".join(text_of(item, "variable") for item in found)
        yield Finding(LOCALE, lines, {"variable": names})


@check("environment", ("environment",), (PLOTS,))
def plots_can_be_shown(facts: Facts) -> Iterator[Finding]:
    """matplotlib is not told to use a screen that is not there, or what it does not know."""
    value = (reading.variable(facts, "MPLBACKEND") or "").strip()
    screen = reading.variable(facts, "DISPLAY") or reading.variable(facts, "WAYLAND_DISPLAY")
    if value and not value.startswith("module://") and value.lower() not in _NO_SCREEN:
        if not screen:
            shown = reading.shorten(value, 60)
            yield Finding(PLOTS, (f"MPLBACKEND={shown}",), {"value": shown})


CHECKS = (
    home_is_the_users,
    languages_are_known,
    plots_can_be_shown,
    no_run_is_imitated,
    allocator_is_set_well,
    nothing_slows_the_gpu,
    threads_are_numbers,
    architectures_are_known,
    what_variables_name_is_there,
)
