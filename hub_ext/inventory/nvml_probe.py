"""Asks NVML once and prints what it said as JSON; run as a program, because a driver may hang.

Output: {"cards": [CARD, ...], "known": DIGEST, "links": LINKS}, or {"error": NVML's code, "text":
...} if NVML cannot be used at all. Exit status 0 in both cases.

CARD is {"index", "bus_id", "devices": [Device's fields, ...], "error"}. A MIG instance is a device
of its own, and its card is none then. A device with an error that says that it cannot work is
unhealthy with the reason; where not even the UUID can be read, the card has an "error" instead,
and the devices that were read before it.

A device's "detail" (DeviceDetail's fields) names the processes that hold its memory, with what
/proc of this host says of them; it is read here, so that the same time limit holds for it.

LINKS are {UUID: [[UUID, score], ...]} of whole cards. Pairs are many, so they are asked only if the
cards are other ones than those of the DIGEST that was given as `--known`; else LINKS is null.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any

import pynvml

from ..models import DeviceDetail, DeviceProcess
from .host_processes import locate, ticks_now
from .illnesses import (
    PROHIBITED,
    RECOVERY_ACTIONS,
    REMAP_FAILED,
    REMAP_PENDING,
    RETIREMENT_PENDING,
)
from .nvml_topology import Card, bus_id, links, numa_node, text

_COMPUTE_MODE_PROHIBITED = 2
_COMPUTE_MODES = {
    0: "default",
    1: "exclusive_thread",
    _COMPUTE_MODE_PROHIBITED: "prohibited",
    3: "exclusive_process",
}
_RECOVERY_FIELD = 230  # NVML_FI_DEV_GET_GPU_RECOVERY_ACTION; older bindings lack the name
# What a card or a driver may lack without being ill
_OPTIONAL = (
    pynvml.NVML_ERROR_NOT_SUPPORTED,
    pynvml.NVML_ERROR_FUNCTION_NOT_FOUND,
    pynvml.NVML_ERROR_NO_PERMISSION,
)
# What no call may answer on a card that is well
_ILL = (pynvml.NVML_ERROR_GPU_IS_LOST, pynvml.NVML_ERROR_RESET_REQUIRED)


def main() -> None:
    """Print the answer."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--known", default="", help="the digest whose links are known")
    try:
        answer = probe(parser.parse_args().known)
    except pynvml.NVMLError as error:
        answer = {"error": error.value, "text": str(error)}
    json.dump(answer, sys.stdout)


def probe(known: str = "") -> dict[str, Any]:
    """What NVML says now. Raises NVMLError if it cannot be used at all."""
    pynvml.nvmlInit()
    try:
        versions = {
            "driver_version": text(pynvml.nvmlSystemGetDriverVersion()),
            "cuda_version": _cuda_version(),
        }
        cards: list[dict[str, Any]] = []
        whole: list[Card] = []
        for index in range(pynvml.nvmlDeviceGetCount()):
            card: dict[str, Any] = {"index": index, "bus_id": "", "devices": [], "error": ""}
            cards.append(card)
            try:
                _read_card(card, whole, versions)
            except pynvml.NVMLError as error:
                card["error"] = str(error)
        uuids = sorted(each.uuid for each in whole)
        digest = hashlib.sha256(json.dumps(uuids).encode()).hexdigest()
        asked = None if digest == known else links(whole)
        return {"cards": cards, "known": digest, "links": asked}
    finally:
        pynvml.nvmlShutdown()


def _cuda_version() -> str:
    number = pynvml.nvmlSystemGetCudaDriverVersion()
    return f"{number // 1000}.{number % 1000 // 10}"


def _read_card(card: dict[str, Any], whole: list[Card], versions: dict[str, str]) -> None:
    """Fill in a card; what was read before an error stays. Raises NVMLError."""
    handle = pynvml.nvmlDeviceGetHandleByIndex(card["index"])
    card["bus_id"] = bus_id(handle)
    node = numa_node(handle)
    instances = _mig_instances(handle)
    if instances is None:
        card["devices"].append(versions | _device(handle, handle, "", node))
        whole.append(Card(card["devices"][0]["uuid"], handle, card["bus_id"], node))
        return
    parent = text(pynvml.nvmlDeviceGetUUID(handle))
    for instance in instances:
        card["devices"].append(versions | _device(instance, handle, parent, node))


def _mig_instances(card: Any) -> Iterator[Any] | None:
    """The card's MIG instances; None if MIG is off."""
    mode = _optional(pynvml.nvmlDeviceGetMigMode, card)
    if not mode or mode[0] != pynvml.NVML_DEVICE_MIG_ENABLE:
        return None
    return _handles(card)


def _handles(card: Any) -> Iterator[Any]:
    for index in range(pynvml.nvmlDeviceGetMaxMigDeviceCount(card)):
        try:
            yield pynvml.nvmlDeviceGetMigDeviceHandleByIndex(card, index)
        except pynvml.NVMLError_NotFound:
            continue


def _device(handle: Any, card: Any, parent: str, node: int | None) -> dict[str, Any]:
    device: dict[str, Any] = {
        "uuid": text(pynvml.nvmlDeviceGetUUID(handle)),
        "name": "",
        "memory_bytes": 0,
        "simulated": False,
        "healthy": True,
        "reason": "",
        "parent": parent,
        "numa_node": node,
    }
    try:
        device["name"] = text(pynvml.nvmlDeviceGetName(handle))
        # the stand-in NVML of images/practice
        device["simulated"] = "simulated" in device["name"].lower()
        device["memory_bytes"] = int(pynvml.nvmlDeviceGetMemoryInfo(handle).total)
        asked = ticks_now()
        running = _informative(pynvml.nvmlDeviceGetComputeRunningProcesses_v3, handle)
        device |= _use(handle, bool(parent), running)
        device["detail"] = asdict(_detail(handle, card, running, asked))
        reason = _illness(card)
    except pynvml.NVMLError as error:
        reason = f"NVML says: {error}"
    if reason:
        device |= {"healthy": False, "reason": reason}
    return device


def _use(handle: Any, is_mig: bool, running: list[Any] | None) -> dict[str, int | None]:
    """What works on the device; None where that is not told."""
    processes = None if running is None else len(running)
    rates = _informative(pynvml.nvmlDeviceGetUtilizationRates, handle)
    utilization = None if rates is None else int(rates.gpu)
    if rates is None and is_mig and processes == 0:
        utilization = 0  # no MIG instance tells it, but without a process there is none
    return {"compute_processes": processes, "utilization_percent": utilization}


def _detail(handle: Any, card: Any, running: list[Any] | None, asked: int) -> DeviceDetail:
    """What is of interest at this look only; `asked` is when `running` was asked for (ticks)."""
    memory = _informative(pynvml.nvmlDeviceGetMemoryInfo, handle, pynvml.nvmlMemory_v2)
    persistence = _informative(pynvml.nvmlDeviceGetPersistenceMode, card)
    mode = _informative(pynvml.nvmlDeviceGetComputeMode, card)
    return DeviceDetail(
        processes=None if running is None else _located(handle, running, asked),
        memory_used_bytes=None if memory is None else int(memory.used),
        persistence=None if persistence is None else bool(persistence),
        compute_mode=_COMPUTE_MODES.get(mode, ""),
    )


def _located(handle: Any, running: list[Any], asked: int) -> tuple[DeviceProcess, ...]:
    """The processes that compute or draw, each once."""
    drawing = _informative(pynvml.nvmlDeviceGetGraphicsRunningProcesses_v3, handle) or []
    memory: dict[int, int | None] = {}
    for process in (*running, *drawing):
        known = [memory.get(process.pid), process.usedGpuMemory]  # of who does both, the larger
        memory[process.pid] = max((each for each in known if each is not None), default=None)
    return locate(memory.items(), asked)


def _illness(card: Any) -> str:
    """Why no work may start on the card, or ""."""
    for value in _optional(pynvml.nvmlDeviceGetFieldValues, card, [_RECOVERY_FIELD]) or ():
        if value.nvmlReturn == pynvml.NVML_SUCCESS and value.value.uiVal:
            action = value.value.uiVal
            return RECOVERY_ACTIONS.get(action, f"the driver asks for recovery action {action}")
    rows = _optional(pynvml.nvmlDeviceGetRemappedRows, card)
    if rows and rows[3]:
        return REMAP_FAILED
    if rows and rows[2]:
        return REMAP_PENDING
    if _optional(pynvml.nvmlDeviceGetRetiredPagesPendingStatus, card):
        return RETIREMENT_PENDING
    if _optional(pynvml.nvmlDeviceGetComputeMode, card) == _COMPUTE_MODE_PROHIBITED:
        return PROHIBITED
    return ""


def _optional(call: Callable[..., Any], *arguments: Any) -> Any:
    """The call's answer, or None where the card or the driver does not know it."""
    try:
        return call(*arguments)
    except pynvml.NVMLError as error:
        if error.value in _OPTIONAL:
            return None
        raise


def _informative(call: Callable[..., Any], *arguments: Any) -> Any:
    """As _optional, but any error means that it is not told, unless the card is lost."""
    try:
        return call(*arguments)
    except pynvml.NVMLError as error:
        if error.value in _ILL:
            raise
        return None


if __name__ == "__main__":
    main()
