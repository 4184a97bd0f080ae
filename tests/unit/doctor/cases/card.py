"""The card's memory and its MIG instances."""

from __future__ import annotations

from typing import Any

from breakages import Case, second_gpu


def _memory(uncorrected: int = 0, **rows: bool) -> list[tuple[str, Any]]:
    health = {
        "uncorrected": uncorrected,
        "remapped_rows": {"pending": False, "failure": False, **rows},
    }
    return [("nvml.devices.0.memory_health", health)]


def _mig(*instances: str) -> list[tuple[str, Any]]:
    return [("nvml.devices.0.mig", {"enabled": True, "pending": True, "instances": [*instances]})]


_SOUND = _memory()[0][1]
_A, _B = (f"MIG-0d6dbcb1-0000-4000-8000-00000000000{number}" for number in (1, 2))

CASES: list[Case] = [
    ("rows to be remapped", _memory(pending=True), "GC154"),
    ("rows that could not be remapped", _memory(failure=True), "GC154"),
    ("uncorrectable errors", _memory(uncorrected=2), "GC154"),
    (
        "errors of the second card",
        [
            *second_gpu(memory_health={**_SOUND, "uncorrected": 1}),
            ("torch.torch.count", 2),
        ],
        "GC154",
    ),
    (
        "two MIG instances",
        [*_mig(_A, _B), ("environment.variables.GPUCAMP_DEVICES", f"{_A},{_B}")],
        "GC155",
    ),
    ("MIG mode without an instance", _mig(), "GC156"),
    (
        "another MIG instance",
        [*_mig(_A), ("environment.variables.GPUCAMP_DEVICES", _B)],
        "GC106",
    ),
]
