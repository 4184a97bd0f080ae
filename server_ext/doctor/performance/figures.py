"""What the probe's answer says: figures, and what was skipped. Pure.

Guarantees: whatever a kernel printed gives known figures and reasons with finite numbers, bounded
in number and length, or nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from ...i18n import N_
from ..checks.performance_reading import expected, is_busy, number_of
from ..checks.reading import shorten
from ..facts import integer_of, text_of
from ..findings import Gettext

FIGURES = {
    "matmul-fp16": N_("Matrix product, fp16"),
    "matmul-bf16": N_("Matrix product, bf16"),
    "matmul-tf32": N_("Matrix product, TF32"),
    "matmul-fp32": N_("Matrix product, fp32"),
    "copy-d2d": N_("Copy within the GPU"),
    "copy-h2d-pinned": N_("Copy to the GPU, pinned memory"),
    "copy-d2h-pinned": N_("Copy from the GPU, pinned memory"),
    "copy-h2d-pageable": N_("Copy to the GPU, ordinary memory"),
    "cpu-matmul-fp32": N_("Matrix product on the CPU, fp32"),
    "cpu-copy": N_("Copy within the server's memory"),
    "all-reduce-nccl": N_("Two GPUs add up a tensor (all-reduce, NCCL)"),
    "all-reduce-gloo": N_("Two processes add up a tensor (all-reduce, gloo)"),
}
REASONS = {
    "no-gpu": N_("this server has no GPU"),
    "practice": N_("the GPU is a practice device, which computes nothing"),
    "cpu-torch": N_("this torch is built without CUDA ({detail})"),
    "cuda-fails": N_("torch cannot use the GPU; examine the kernel to learn why ({detail})"),
    "torch-missing": N_("torch cannot be imported; examine the kernel to learn why ({detail})"),
    "memory": N_("the server has too little free memory ({detail})"),
    "gpu-memory": N_("the GPU has too little free memory ({detail})"),
    "capability": N_("this model of GPU does not have it"),
    "one-gpu": N_("it takes two GPUs"),
    "mig": N_("parts of a GPU (MIG) cannot work together"),
    "too-many": N_("only the first {detail} GPUs are measured"),
    "not-measured": N_("the measurement ended before"),
    "failed": N_("it failed ({detail})"),
}
SUBJECTS = {
    "all": N_("Everything"),
    "gpu": N_("The GPU"),
    "cpu": N_("The CPU"),
    "copies": N_("Copies"),
}

_MOST = 100
MIB = 2**20
# two more programs with torch take that much; one that is killed for memory counts as an illness of
# the server until it is restarted
RANKS_BYTES = 512 * MIB
# what two ranks add up, in bytes
GLOO_BYTES, NCCL_BYTES, NCCL_BYTES_LIGHT = 16 * MIB, 64 * MIB, 8 * MIB


@dataclass(frozen=True)
class Figure:
    """One number. device: of the GPU, None: of the CPU; value: FLOPS or bytes/s; expected: None:
    unknown, or not to be judged.
    """

    name: str
    value: float
    size: int = 0
    device: int | None = None
    device_name: str = ""
    expected: float | None = None

    @property
    def unit(self) -> str:
        """Of the value."""
        return "FLOPS" if "matmul" in self.name else "B/s"

    def describe(self, gettext: Gettext) -> dict[str, object]:
        """As the REST API shows it."""
        return {
            "name": self.name,
            "title": gettext(FIGURES[self.name]),
            "device": self.device,
            "device_name": self.device_name,
            "value": self.value,
            "unit": self.unit,
            "expected": self.expected,
            "size": self.size,
        }


@dataclass(frozen=True)
class Skipped:
    """What was not measured. name: of a figure or "all", "gpu", "cpu"; device: of a GPU."""

    name: str
    reason: str
    detail: str = ""
    device: int | None = None

    def describe(self, gettext: Gettext) -> dict[str, object]:
        """As the REST API shows it."""
        subject = SUBJECTS.get(self.name) or FIGURES.get(self.name)
        reason = gettext(REASONS[self.reason]).replace("{detail}", self.detail)
        return {
            "name": self.name,
            "reason": self.reason,
            "device": self.device,
            "detail": self.detail,
            "title": gettext(subject) if subject else self.name,
            "text": reason,
        }


@dataclass(frozen=True)
class Now:
    """What is being measured."""

    name: str
    done: int
    steps: int


def figures(value: Mapping[str, object]) -> list[Figure]:
    """All figures that an answer has, those of GPUs first."""
    found: list[Figure] = []
    for device in _objects(value.get("devices")):
        index = integer_of(device, "index") or 0
        name = shorten(text_of(device, "name"), 80)
        for figure in _objects(device.get("figures")):
            number = number_of(figure, "value")
            if text_of(figure, "name") in FIGURES and number is not None:
                should = expected(device, text_of(figure, "name"))
                size = integer_of(figure, "size") or 0
                found.append(Figure(text_of(figure, "name"), number, size, index, name, should))
    cpu = value.get("cpu")
    for figure in _objects(cpu.get("figures") if isinstance(cpu, Mapping) else None):
        number = number_of(figure, "value")
        if text_of(figure, "name") in FIGURES and number is not None:
            found.append(Figure(text_of(figure, "name"), number, integer_of(figure, "size") or 0))
    reduced = value.get("all_reduce")
    for result in reduced.values() if isinstance(reduced, Mapping) else ():
        if isinstance(result, Mapping):
            seconds = number_of(result, "seconds")
            size = integer_of(result, "bytes") or 0
            name = f"all-reduce-{text_of(result, 'backend')}"
            if seconds and size and name in FIGURES:
                found.append(Figure(name, size / seconds, size))
    return found[:_MOST]


def skipped(value: Mapping[str, object]) -> list[Skipped]:
    """What an answer says was skipped."""
    found = []
    for item in _objects(value.get("skipped")):
        where = re.fullmatch(r"cuda:(\d{1,3})(?: ([\w-]{1,40}))?", text_of(item, "name"))
        name = (where[2] or "gpu") if where else text_of(item, "name")
        reason = text_of(item, "reason")
        if reason in REASONS and (name in FIGURES or name in SUBJECTS):
            device = int(where[1]) if where else None
            found.append(Skipped(name, reason, shorten(text_of(item, "detail"), 200), device))
    return found[:_MOST]


def step(value: Mapping[str, object]) -> Now:
    """Where the probe is."""
    text = re.sub(r"[^\w :.-]", "", text_of(value, "step"))[:80]
    steps = max(1, min(1000, integer_of(value, "steps") or 1))
    return Now(text, max(0, min(steps, integer_of(value, "done") or 0)), steps)


def torch_version(value: Mapping[str, object]) -> str:
    """ "" where torch was not imported."""
    return shorten(text_of(value, "torch"), 80)


def backends(value: Mapping[str, object], *, simulated: bool) -> list[str | Skipped]:
    """By what two ranks are to add up a tensor, or why not."""
    devices = _objects(value.get("devices"))
    if not torch_version(value) or "cut_short" in value:
        return [Skipped("all-reduce-gloo", "not-measured")]
    free = integer_of(value, "memory_free")
    if free is not None and free < RANKS_BYTES:
        return [Skipped("all-reduce-gloo", "memory", f"{free // MIB} MiB")]
    found: list[str | Skipped] = ["gloo"]
    if any(text_of(device, "error") for device in devices):
        found.append(Skipped("all-reduce-nccl", "not-measured"))
    elif len(devices) < 2:
        found.append(Skipped("all-reduce-nccl", "practice" if simulated else "one-gpu"))
    elif any("MIG" in text_of(device, "name") for device in devices[:2]):
        found.append(Skipped("all-reduce-nccl", "mig"))
    else:
        found.append("nccl")
    return found


def all_reduce_bytes(backend: str, value: Mapping[str, object]) -> int:
    """How much to add up: less on a GPU that is in use, or nearly full."""
    if backend != "nccl":
        return GLOO_BYTES
    devices = _objects(value.get("devices"))[:2]
    free = min((number_of(one, "memory", "free") or 0 for one in devices), default=0)
    small = any(is_busy(one) for one in devices) or free < 2**30
    return NCCL_BYTES_LIGHT if small else NCCL_BYTES


def _objects(value: object) -> list[Mapping[str, object]]:
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []
