"""Can torch use the GPU that CUDA sees? Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from ...i18n import N_
from ..facts import Facts, integer_of, text_of
from ..findings import Code, Finding, check
from . import reading

UNAVAILABLE = Code(
    "GC141",
    "cuda",
    "blocker",
    "you",
    N_("torch.cuda.is_available() is False although CUDA starts: {error}."),
    N_("Restart the kernel; if it stays so, restart the server."),
    stops=True,
)
FEWER = Code(
    "GC142",
    "cuda",
    "degraded",
    "you",
    N_("torch sees {torch} of the {all} GPUs in the container."),
    N_("Unset CUDA_VISIBLE_DEVICES; with MIG, one process can use one slice only."),
)
NO_KERNEL_IMAGE = Code(
    "GC143",
    "cuda",
    "blocker",
    "instructor",
    N_("This torch has no code for the card {name} (compute capability {capability})."),
    N_("Ask your instructor for another card, or for an image built for this one."),
)
FULL = Code(
    "GC144",
    "cuda",
    "blocker",
    "you",
    N_("The GPU's memory is full: {used} of {total} are in use."),
    N_("Shut down kernels that you do not need (Running, on the left), and stop old DDP runs."),
)
BUSY = Code(
    "GC145",
    "cuda",
    "blocker",
    "instructor",
    N_("The GPU is busy or kept for one process: CUDA cannot use it."),
    N_("End other programs on the GPU; if there are none, tell your instructor."),
)
ECC = Code(
    "GC146",
    "cuda",
    "blocker",
    "instructor",
    N_("The GPU's memory is damaged (uncorrectable ECC error)."),
    N_("Tell your instructor: the GPU must be drained and reset."),
)
COMPUTE_FAILS = Code(
    "GC147",
    "cuda",
    "blocker",
    "you",
    N_("The GPU is seen but cannot compute: {error}."),
    N_("Restart the kernel; if it stays so, restart the server."),
)
NEARLY_FULL = Code(
    "GC148",
    "cuda",
    "advice",
    "you",
    N_("Most of the GPU's memory is in use: {used} of {total}."),
    N_("If that is not your running program, shut down kernels that you do not need."),
)

USE_HANGS = Code(
    "GC149",
    "cuda",
    "blocker",
    "you",
    N_("torch hangs or crashes when it uses the GPU: {error}."),
    N_("Restart the server; if it stays so, tell your instructor."),
    stops=True,
)

_SEVERE_SHARE = 0.9
# what the probe adds up (probes/imports.py)
_EIGHT_TIMES_TWO = 16


@check("cuda", ("torch", "libcuda", "nvml", "environment"), (USE_HANGS, UNAVAILABLE, FEWER))
def torch_sees_the_gpus(facts: Facts) -> Iterator[Finding]:
    """torch sees every GPU that CUDA sees."""
    cut_short = facts.text("torch", "cut_short", "detail")
    if cut_short is not None:
        yield Finding(USE_HANGS, (cut_short,), {"error": cut_short}, tells=("torch",))
        return
    refused = facts.text("torch", "torch", "available", "error", "message")
    if refused is not None or facts.flag("torch", "torch", "available") is False:
        error = refused or facts.text("torch", "torch", "init", "error", "message")
        warnings = facts.texts("torch", "warnings")
        said = error or (warnings[0] if warnings else "no reason given")
        evidence = (reading.shorten(said), f"CUDA: {facts.integer('libcuda', 'count')} GPU(s)")
        params = {"error": reading.shorten(said, 120)}
        yield Finding(UNAVAILABLE, evidence, params, tells=("torch",))
        return
    reading.require(facts, "torch", "torch", "count")
    reading.require(facts, "nvml", "count")
    counted = facts.integer("torch", "torch", "count")
    by_runtime = facts.integer("torch", "torch", "runtime_count")
    seen = counted if by_runtime is None else by_runtime
    # those that answer NVML; what is wrong with the others is told by its layer
    here = len(reading.nvml_devices(facts))
    if seen is not None and 0 < seen < here:
        value = reading.variable(facts, "CUDA_VISIBLE_DEVICES")
        shown = () if value is None else (f"CUDA_VISIBLE_DEVICES={value}",)
        yield Finding(FEWER, shown, {"torch": str(seen), "all": str(here)})


def _has_code(capability: tuple[int, int], flags: str) -> bool:
    """Whether machine code (same major, minor not above) or PTX (not above) is built in."""
    for kind, digits in re.findall(r"\b(sm|compute)_(\d+)", flags):
        built = (int(digits[:-1]), int(digits[-1]))
        if kind == "sm" and built[0] == capability[0] and built[1] <= capability[1]:
            return True
        if kind == "compute" and built <= capability:
            return True
    return False


@check(
    "cuda",
    ("torch", "nvml"),
    (NO_KERNEL_IMAGE, FULL, BUSY, ECC, COMPUTE_FAILS, NEARLY_FULL),
)
def gpus_compute(facts: Facts) -> Iterator[Finding]:
    """Every GPU adds two numbers."""
    reading.require(facts, "torch", "torch", "devices")
    flags = facts.text("torch", "torch", "arch_flags") or ""
    for device in facts.objects("torch", "torch", "devices"):
        yield from _computes(device, flags, _fullest(facts))
    used, total = _fullest(facts)
    failing = any(
        isinstance(d.get("add"), Mapping) for d in facts.objects("torch", "torch", "devices")
    )
    if total and used / total > _SEVERE_SHARE and not failing:
        yield Finding(NEARLY_FULL, (), _sizes(used, total))
    # without NVML nobody knows how full the memory is
    reading.require(facts, "nvml", "count")


def _computes(
    device: Mapping[str, object], flags: str, memory: tuple[int, int]
) -> Iterator[Finding]:
    capability = device.get("capability")
    name = text_of(device, "name") or f"cuda:{integer_of(device, 'index')}"
    error = device.get("add")
    details = error.get("error") if isinstance(error, Mapping) else None
    message = text_of(details, "message") if isinstance(details, Mapping) else ""
    if isinstance(capability, list) and len(capability) == 2 and flags:
        major, minor = (part if isinstance(part, int) else 0 for part in capability)
        if not _has_code((major, minor), flags):
            params = {"name": name, "capability": f"{major}.{minor}"}
            yield Finding(NO_KERNEL_IMAGE, (f"torch has {flags}",), params)
            return
    if not message:
        result = device.get("add")
        if isinstance(result, (int, float)) and result != _EIGHT_TIMES_TWO:
            error = f"eight times 1 + 1 gave {result}"
            yield Finding(COMPUTE_FAILS, (f"{name}: {error}",), {"error": error})
        return
    evidence = (reading.shorten(message),)
    lower = message.lower()
    if "no kernel image" in lower:
        yield Finding(NO_KERNEL_IMAGE, evidence, {"name": name, "capability": "?"})
    elif "out of memory" in lower:
        yield Finding(FULL, evidence, _sizes(*memory))
    elif "busy or unavailable" in lower:
        yield Finding(BUSY, evidence)
    elif "ecc" in lower:
        yield Finding(ECC, evidence)
    else:
        yield Finding(COMPUTE_FAILS, evidence, {"error": reading.shorten(message, 120)})


def _fullest(facts: Facts) -> tuple[int, int]:
    """Used and total bytes of the GPU with the least free share; (0, 0) when unknown."""
    found = (0, 0)
    for device in reading.nvml_devices(facts):
        memory = device.get("memory")
        if isinstance(memory, Mapping):
            used, total = integer_of(memory, "used"), integer_of(memory, "total")
            if used is not None and total and (not found[1] or used / total > found[0] / found[1]):
                found = (used, total)
    return found


def _sizes(used: int, total: int) -> dict[str, str]:
    return {"used": reading.gibibytes(used), "total": reading.gibibytes(total)}


CHECKS = (torch_sees_the_gpus, gpus_compute)
