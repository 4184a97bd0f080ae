"""A stand-in for what happens to devices: a JSON file that changes the practice devices.

For demonstrations and tests on hosts without a card; $GPUCAMP_PRACTICE_STATE names it. By UUID:

    {"GPU-5ca1ab1e-…": {"utilization_percent": 0, "compute_processes": 0,
                        "processes": [{"pid": 4711, "memory": 1073741824}], "persistence": false,
                        "reason": "why it is ill", "xids": [79], "missing": true}}

Only the memory of such processes is made up: whose a PID is, /proc of this host says, as with a
card.

Guarantees: each XID that is added to the file is reported once, with the time of the file; content
that makes no sense is one line in the log, and what was read last stays; no file: nothing happens.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeGuard

from ..health import XidEvent
from ..models import Device, DeviceDetail
from .host_processes import locate, ticks_now

_MOST_BYTES = 1024**2

_log = logging.getLogger("gpucamp.inventory")


@dataclass(frozen=True, slots=True)
class Change:
    """What the file says of a device."""

    utilization_percent: int | None = None
    compute_processes: int | None = None
    processes: tuple[tuple[int, int], ...] | None = None  # (PID on this host, bytes)
    persistence: bool | None = None
    reason: str = ""  # "" is well
    xids: tuple[int, ...] = ()
    missing: bool = False


class PracticeState:
    """Reads the file again when it has changed."""

    def __init__(self, path: Path | None, proc: Path = Path("/proc")) -> None:
        """None: no file, nothing ever happens. `proc` is where processes are looked up."""
        self._path = path
        self._proc = proc
        self._version: tuple[int, int, int] | None = None
        self._changes: Mapping[str, Change] = {}
        self._reported: dict[str, tuple[int, ...]] = {}
        self._events: list[XidEvent] = []

    def apply(self, devices: Sequence[Device]) -> tuple[Device, ...]:
        """The devices as the file says that they are now."""
        self._refresh()
        changed = ((device, self._changes.get(device.uuid, Change())) for device in devices)
        return tuple(
            replace(
                device,
                healthy=not change.reason,
                reason=change.reason,
                utilization_percent=change.utilization_percent,
                compute_processes=change.compute_processes,
                detail=self._detail(change),
            )
            for device, change in changed
            if not change.missing
        )

    def _detail(self, change: Change) -> DeviceDetail | None:
        if change.processes is None and change.persistence is None:
            return None
        if change.processes is None:
            return DeviceDetail(persistence=change.persistence)
        return DeviceDetail(
            processes=locate(change.processes, ticks_now(), self._proc),
            memory_used_bytes=sum(memory for _pid, memory in change.processes),
            persistence=change.persistence,
        )

    def events(self) -> tuple[XidEvent, ...]:
        """XIDs that were added since the last call."""
        events, self._events = tuple(self._events), []
        return events

    def _refresh(self) -> None:
        if self._path is None:
            return
        try:
            facts = self._path.stat()
            version = (facts.st_mtime_ns, facts.st_size, facts.st_ino)
            if version == self._version:
                return
            self._version = version
            with self._path.open("rb") as file:
                changes = parse(file.read(_MOST_BYTES))
        except FileNotFoundError:
            self._version, self._changes = None, {}
            return
        except (OSError, ValueError) as error:
            _log.error("%s is not used: %s What it said before stays.", self._path, error)
            return
        self._changes = changes
        at = datetime.fromtimestamp(facts.st_mtime, UTC)
        for uuid, change in changes.items():
            before = self._reported.get(uuid, ())
            known = len(before) if change.xids[: len(before)] == before else 0
            self._events += [XidEvent(uuid, xid, at) for xid in change.xids[known:]]
        self._reported = {uuid: change.xids for uuid, change in changes.items()}


def parse(text: str | bytes) -> dict[str, Change]:
    """The changes by UUID. Raises ValueError that says what is wrong."""
    content = json.loads(text)
    if not isinstance(content, dict):
        raise ValueError("It must be an object of UUIDs.")
    return {uuid: _change(uuid, said) for uuid, said in content.items()}


def _change(uuid: str, said: object) -> Change:
    names = [each.name for each in fields(Change)]
    if not isinstance(said, dict) or not set(said) <= set(names):
        raise ValueError(f"{uuid} takes {', '.join(names)}, not {said!r}.")
    for name, value in said.items():
        if not _valid(name, value):
            raise ValueError(f"{uuid}: {name} cannot be {value!r}.")
    running = said.get("processes")
    if running is not None:
        running = tuple((each["pid"], each["memory"]) for each in running)
    return Change(**said | {"xids": tuple(said.get("xids", ())), "processes": running})


def _valid(name: str, value: object) -> bool:
    match name:
        case "reason":
            return isinstance(value, str)
        case "missing":
            return isinstance(value, bool)
        case "xids":
            return isinstance(value, list) and all(_is_number(each) for each in value)
        case "persistence":
            return value is None or isinstance(value, bool)
        case "processes":
            return value is None or (
                isinstance(value, list) and all(_is_process(each) for each in value)
            )
        case "utilization_percent":
            return value is None or (_is_number(value) and value <= 100)
        case _:
            return value is None or _is_number(value)


def _is_process(value: object) -> bool:
    return (
        isinstance(value, dict)
        and set(value) == {"pid", "memory"}
        and _is_number(value["pid"])
        and type(value["memory"]) is int
        and 0 <= value["memory"] < 2**63
    )


def _is_number(value: object) -> TypeGuard[int]:
    return type(value) is int and 0 <= value < 2**31
