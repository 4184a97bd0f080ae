"""Devices as NVML sees them, asked in a process of its own with a time limit.

Guarantees: a hung driver costs `scan` at most `timeout` and a second; a probe that cannot be killed
(a process stuck in the kernel) is the only one there is, until it is gone; what cannot be told is
an InventoryUnavailable that says what to do, never an empty inventory. A card that was read before
and cannot be read now gives its devices as unhealthy with the reason, also after a restart.
Topology is asked for once per process, and again when there are other cards.
"""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import threading
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

from ..errors import InventoryUnavailable
from ..health import XidEvent
from ..models import Device, DeviceDetail, DeviceProcess
from .cards import CardMemory, SeenCard
from .memory import Memory
from .xid_watcher import XidWatcher

TIMEOUT_SECONDS = 10.0
PROBE = (sys.executable, "-m", "hub_ext.inventory.nvml_probe")

# NVML's codes; see images/practice/nvml.h
DRIVER_NOT_LOADED = 9
LIBRARY_NOT_FOUND = 12
_REMEDIES = {
    DRIVER_NOT_LOADED: "Load the driver (modprobe nvidia), or install it; then try nvidia-smi.",
    LIBRARY_NOT_FOUND: "Install the NVIDIA driver with its libraries.",
    18: "The driver was updated while its old module is loaded: reboot the host.",
    999: "Look at `nvidia-smi` and `dmesg` on the host.",
}

_log = logging.getLogger("gpucamp.inventory")


class NoDriver(InventoryUnavailable):
    """There is no NVIDIA driver on this host, or it is not loaded."""


class NvmlInventory:
    """Thread-safe; scans run one at a time."""

    def __init__(
        self,
        *,
        timeout: float = TIMEOUT_SECONDS,
        probe: Sequence[str] = PROBE,
        memory: Memory | None = None,
        xids: XidWatcher | None = None,
    ) -> None:
        """`timeout` is in seconds; `probe` is the command that asks NVML; `memory` outlives this
        process; `xids` is started by the first call of `events`."""
        self._timeout = timeout
        self._probe = tuple(probe)
        self._stuck: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self._unknown: list[str] = []
        self._cards = CardMemory(memory)
        self._digest = ""
        self._links: dict[str, tuple[tuple[str, int], ...]] = {}
        self._xids = xids or XidWatcher()
        self._seen: list[SeenCard] = []

    def scan(self) -> tuple[Device, ...]:
        """GPUs and MIG instances in NVML's order, unhealthy ones included.

        Raises NoDriver, InventoryUnavailable if NVML fails or hangs, and what the memory raises.
        """
        with self._lock:
            answer = self._ask()
            if "error" in answer:
                code = int(answer["error"])
                kind = NoDriver if code in (DRIVER_NOT_LOADED, LIBRARY_NOT_FOUND) else None
                raise (kind or InventoryUnavailable)(
                    f"NVML cannot be used: {answer['text']} ({code}). "
                    + _REMEDIES.get(code, _REMEDIES[999])
                )
            if answer["links"] is not None:
                self._links = {
                    uuid: tuple((peer, score) for peer, score in peers)
                    for uuid, peers in answer["links"].items()
                }
            self._digest = answer["known"]
            self._seen = [self._card(card) for card in answer["cards"]]
            devices, unknown = self._cards.complete(self._seen)
            if unknown != self._unknown:
                self._unknown = unknown
                for line in unknown:
                    _log.error(
                        "NVML cannot read %s. Look at dmesg; the host may need a reboot.", line
                    )
            return devices

    def events(self, leave: Collection[str] = ()) -> tuple[XidEvent, ...]:
        """XIDs since the last call; the first call begins to watch for them. Never blocks long.

        Cards all of whose devices are in `leave` are not kept open.
        """
        watched: set[str] = set()
        left: set[int] = set()
        for card in self._seen:
            if card.devices and all(device.uuid in leave for device in card.devices):
                left.add(card.index)
            else:
                watched.update(device.parent or device.uuid for device in card.devices)
        self._xids.expect(watched, left)
        self._xids.start()
        return self._xids.events()

    @property
    def trouble(self) -> str:
        """Why XIDs are not seen now, or ""."""
        return self._xids.trouble

    def close(self) -> None:
        """End what watches for XIDs."""
        self._xids.close()

    def _card(self, card: dict[str, Any]) -> SeenCard:
        devices = (_device(fields) for fields in card["devices"])
        return SeenCard(
            card["index"],
            card["bus_id"],
            tuple(replace(each, links=self._links.get(each.uuid, ())) for each in devices),
            card["error"],
        )

    def _ask(self) -> dict[str, Any]:
        if self._stuck is not None:
            if self._stuck.poll() is None:
                raise InventoryUnavailable(_HANGS)
            self._stuck = None
        try:
            process = subprocess.Popen(  # noqa: S603 - our own program
                (*self._probe, f"--known={self._digest}"),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        except OSError as error:
            raise InventoryUnavailable(f"NVML could not be asked: {error}.") from error
        try:
            output, complaint = process.communicate(timeout=self._timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            try:
                process.communicate(timeout=1)
            except subprocess.TimeoutExpired:
                self._stuck = process
            raise InventoryUnavailable(_HANGS) from None
        try:
            answer = json.loads(output)
            if process.returncode != 0 or not isinstance(answer, dict):
                raise ValueError
            if not answer.keys() & {"error", "cards"}:
                raise ValueError
        except ValueError:
            last = complaint.decode(errors="replace").strip().rpartition("\n")[2]
            raise InventoryUnavailable(
                f"The NVML probe failed with status {process.returncode}: {last or 'no output'}."
            ) from None
        return answer


def _device(fields: dict[str, Any]) -> Device:
    """The inverse of the probe's JSON."""
    detail = fields.get("detail")
    if detail is None:
        return Device(**fields)
    processes = detail["processes"]
    if processes is not None:
        processes = tuple(
            DeviceProcess(
                **each | {"containers": tuple(each["containers"]), "pids": tuple(each["pids"])}
            )
            for each in processes
        )
    return Device(**fields | {"detail": DeviceDetail(**detail | {"processes": processes})})


_HANGS = (
    "NVML does not answer: the driver hangs. Look at `dmesg` for Xid messages; the host may need a "
    "reboot."
)
