"""Asks NVML once and prints what it said as JSON; run as a program, because a driver may hang.

Output: {"devices": [Device's fields, ...], "unreadable": ["GPU 1: GPU is lost", ...]}, or
{"error": NVML's code, "text": ...} if NVML cannot be used at all. Exit status 0 in both cases.

A MIG instance is a device of its own, and its card is none then. A device with an error that says
that it cannot work is unhealthy with the reason; one whose UUID cannot be read is unreadable.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pynvml

_RECOVERY_ACTIONS = {
    1: "the driver asks for a reset of the GPU (nvidia-smi --gpu-reset)",
    2: "the driver asks for a reboot of the host",
    3: "the driver asks to drain peer-to-peer traffic",
    4: "the driver asks to drain the GPU and reset it",
}
_COMPUTE_MODE_PROHIBITED = 2
_RECOVERY_FIELD = 230  # NVML_FI_DEV_GET_GPU_RECOVERY_ACTION; older bindings lack the name
# What a card or a driver may lack without being ill
_OPTIONAL = (
    pynvml.NVML_ERROR_NOT_SUPPORTED,
    pynvml.NVML_ERROR_FUNCTION_NOT_FOUND,
    pynvml.NVML_ERROR_NO_PERMISSION,
)


def main() -> None:
    """Print the answer."""
    try:
        answer = probe()
    except pynvml.NVMLError as error:
        answer = {"error": error.value, "text": str(error)}
    json.dump(answer, sys.stdout)


def probe() -> dict[str, Any]:
    """What NVML says now. Raises NVMLError if it cannot be used at all."""
    pynvml.nvmlInit()
    try:
        versions = {
            "driver_version": _text(pynvml.nvmlSystemGetDriverVersion()),
            "cuda_version": _cuda_version(),
        }
        found: list[dict[str, Any]] = []
        unreadable: list[str] = []
        for index in range(pynvml.nvmlDeviceGetCount()):
            try:
                card = pynvml.nvmlDeviceGetHandleByIndex(index)
                for handle in _leasable(card):
                    found.append(versions | _device(handle, card))
            except pynvml.NVMLError as error:
                unreadable.append(f"GPU {index}: {error}")
        return {"devices": found, "unreadable": unreadable}
    finally:
        pynvml.nvmlShutdown()


def _cuda_version() -> str:
    number = pynvml.nvmlSystemGetCudaDriverVersion()
    return f"{number // 1000}.{number % 1000 // 10}"


def _leasable(card: Any) -> Iterator[Any]:
    """The card itself, or its MIG instances if MIG is on."""
    mode = _optional(pynvml.nvmlDeviceGetMigMode, card)
    if not mode or mode[0] != pynvml.NVML_DEVICE_MIG_ENABLE:
        yield card
        return
    for index in range(pynvml.nvmlDeviceGetMaxMigDeviceCount(card)):
        try:
            yield pynvml.nvmlDeviceGetMigDeviceHandleByIndex(card, index)
        except pynvml.NVMLError_NotFound:
            continue


def _device(handle: Any, card: Any) -> dict[str, Any]:
    device: dict[str, Any] = {
        "uuid": _text(pynvml.nvmlDeviceGetUUID(handle)),
        "name": "",
        "memory_bytes": 0,
        "simulated": False,
        "healthy": True,
        "reason": "",
    }
    try:
        device["name"] = _text(pynvml.nvmlDeviceGetName(handle))
        # the stand-in NVML of images/practice
        device["simulated"] = "simulated" in device["name"].lower()
        device["memory_bytes"] = int(pynvml.nvmlDeviceGetMemoryInfo(handle).total)
        reason = _illness(card)
    except pynvml.NVMLError as error:
        reason = f"NVML says: {error}"
    if reason:
        device |= {"healthy": False, "reason": reason}
    return device


def _illness(card: Any) -> str:
    """Why no work may start on the card, or ""."""
    for value in _optional(pynvml.nvmlDeviceGetFieldValues, card, [_RECOVERY_FIELD]) or ():
        if value.nvmlReturn == pynvml.NVML_SUCCESS and value.value.uiVal:
            action = value.value.uiVal
            return _RECOVERY_ACTIONS.get(action, f"the driver asks for recovery action {action}")
    rows = _optional(pynvml.nvmlDeviceGetRemappedRows, card)
    if rows and rows[3]:
        return "memory rows could not be remapped: the card needs to be replaced"
    if rows and rows[2]:
        return "memory rows wait to be remapped: reset the card"
    if _optional(pynvml.nvmlDeviceGetRetiredPagesPendingStatus, card):
        return "memory pages wait to be retired: reset the card"
    if _optional(pynvml.nvmlDeviceGetComputeMode, card) == _COMPUTE_MODE_PROHIBITED:
        return "its compute mode is Prohibited (nvidia-smi -c 0 allows work again)"
    return ""


def _optional(call: Callable[..., Any], *arguments: Any) -> Any:
    """The call's answer, or None where the card or the driver does not know it."""
    try:
        return call(*arguments)
    except pynvml.NVMLError as error:
        if error.value in _OPTIONAL:
            return None
        raise


def _text(value: str | bytes) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else value


if __name__ == "__main__":
    main()
