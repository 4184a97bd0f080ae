"""Devices as NVML sees them, asked in a process of its own with a time limit.

Guarantees: a hung driver costs `scan` at most `timeout` and a second; a probe that cannot be killed
(a process stuck in the kernel) is the only one there is, until it is gone; what cannot be told is
an InventoryUnavailable that says what to do, never an empty inventory.
"""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import Any

from ..errors import InventoryUnavailable
from ..models import Device

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

    def __init__(self, *, timeout: float = TIMEOUT_SECONDS, probe: Sequence[str] = PROBE) -> None:
        """`timeout` is in seconds; `probe` is the command that asks NVML."""
        self._timeout = timeout
        self._probe = tuple(probe)
        self._stuck: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self._unreadable: list[str] = []

    def scan(self) -> tuple[Device, ...]:
        """GPUs and MIG instances in NVML's order, unhealthy ones included.

        Raises NoDriver, and InventoryUnavailable if NVML fails or hangs.
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
        if answer["unreadable"] != self._unreadable:
            self._unreadable = answer["unreadable"]
            for line in self._unreadable:
                _log.error("NVML cannot read %s. Look at dmesg; the host may need a reboot.", line)
        return tuple(Device(**fields) for fields in answer["devices"])

    def _ask(self) -> dict[str, Any]:
        if self._stuck is not None:
            if self._stuck.poll() is None:
                raise InventoryUnavailable(_HANGS)
            self._stuck = None
        try:
            process = subprocess.Popen(  # noqa: S603 - our own program
                self._probe,
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
        except ValueError:
            last = complaint.decode(errors="replace").strip().rpartition("\n")[2]
            raise InventoryUnavailable(
                f"The NVML probe failed with status {process.returncode}: {last or 'no output'}."
            ) from None
        return answer


_HANGS = (
    "NVML does not answer: the driver hangs. Look at `dmesg` for Xid messages; the host may need a "
    "reboot."
)
