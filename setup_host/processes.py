"""Processes that we started: remembered, recognised and ended.

Guarantees: a process is ours only if its id, its start time and the boot of the machine are those
recorded, so an id that was used again is never signalled; signals go through a pidfd, so not even
a race can hit a stranger.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
from dataclasses import asdict, dataclass
from pathlib import Path

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class Record:
    """One process; `started` is the boot's id and the start time in clock ticks since boot."""

    pid: int
    started: str


def start_mark(pid: int) -> str | None:
    """When a living process started, as a mark that no later process has; None if there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    fields = stat[stat.rindex(")") + 2 :].split()
    if fields[0] in "ZX":
        return None
    return f"{_BOOT_ID.read_text(encoding='ascii').strip()}:{fields[19]}"


def record_of(pid: int) -> Record | None:
    """The record of a living process."""
    mark = start_mark(pid)
    return None if mark is None else Record(pid, mark)


def is_alive(record: Record) -> bool:
    """Whether this very process still lives."""
    return start_mark(record.pid) == record.started


def save(path: Path, record: Record) -> None:
    """Write the record; replaces the file in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(path.name + ".new")
    new.write_text(json.dumps(asdict(record)) + "\n", encoding="ascii")
    new.replace(path)


def load(path: Path) -> Record | None:
    """The recorded process if it lives; None for a missing, torn or stale record."""
    try:
        data = json.loads(path.read_text(encoding="ascii"))
        record = Record(int(data["pid"]), str(data["started"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return record if is_alive(record) else None


def end(record: Record, grace: float = 15.0, first: int = signal.SIGTERM) -> bool:
    """End the process: `first`, and after `grace` seconds SIGKILL. False if it was gone already."""
    try:
        handle = os.pidfd_open(record.pid)
    except (ProcessLookupError, OSError):
        return False
    try:
        # the handle is taken: if it is still the recorded one now, it stays so
        if not is_alive(record):
            return False
        for sign, seconds in ((first, grace), (signal.SIGKILL, 10.0)):
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(handle, sign)
            if _wait(handle, seconds):
                break
        return True
    finally:
        os.close(handle)


def _wait(handle: int, seconds: float) -> bool:
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


def of_installation(state: Path, words: tuple[str, ...]) -> list[Record]:
    """Processes started for this state folder whose command line has one of the words.

    A hub that was killed leaves its proxy and its service behind; both carry
    GPUCAMP_STATE_DIR=<state> in their environment, which another installation's do not.
    """
    mark = f"GPUCAMP_STATE_DIR={state}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        record = record_of(int(entry.name))
        try:
            environ = (entry / "environ").read_bytes().split(b"\0")
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if record is not None and mark in environ and any(word in command for word in words):
            found.append(record)
    return found


def command_of(pid: int) -> str:
    """The command line of a process for people; empty if it cannot be read."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        return " ".join(word.decode(errors="replace") for word in words if word)[:120]
    except OSError:
        return ""
