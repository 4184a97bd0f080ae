"""The stacks of a rank, read by py-spy, a program of its own.

Guarantees:
- The rank is never paused, changed or slowed: py-spy reads its memory (--nonblocking), no values
  of variables.
- A dump never outlives its time limit or the cancellation of `dump`: py-spy is killed. Its output
  is bounded, and whatever it does becomes Stacks, never an exception.
- Reading memory needs the right to trace (ptrace). Where the container or the host does not give
  it, `problem` says so in a word or two.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
from dataclasses import dataclass, replace

from ..doctor.probing import end_group, let_go, start_group
from ..i18n import N_
from .places import Frame, Thread, is_library

LIMIT_SECONDS = 5.0  # it takes 0.02 s; a process that is stuck in the kernel may make it wait
ANSWER_BYTES = 2 * 2**20
MOST_THREADS = 64
MOST_FRAMES = 400
LINE_CHARACTERS = 200
SCRIPT_BYTES = 2 * 2**20
YAMA = "/proc/sys/kernel/yama/ptrace_scope"

MISSING = N_("py-spy is not installed")
NOT_ALLOWED = N_("the container may not trace processes")
TOO_LONG = N_("py-spy did not answer in time")
FAILED = N_("py-spy did not understand the process")


@dataclass(frozen=True)
class Stacks:
    """Of one process. problem: a msgid that says why there are none, else ""."""

    threads: tuple[Thread, ...] = ()
    problem: str = ""


def find_py_spy() -> str | None:
    """The program: beside our Python, else on the PATH."""
    beside = os.path.dirname(sys.executable)
    return shutil.which("py-spy", path=beside) or shutil.which("py-spy")


async def dump(pid: int, program: str | None, limit: float = LIMIT_SECONDS) -> Stacks:
    """The stacks of all Python threads of a process. limit: seconds."""
    if program is None:
        return Stacks(problem=MISSING)
    argv = [program, "dump", "--json", "--nonblocking", "--full-filenames", "--pid", str(pid)]
    try:
        process = await start_group(argv, {"PATH": os.defpath}, "/")
    except (OSError, ValueError, RuntimeError):
        return Stacks(problem=MISSING)
    try:
        async with asyncio.timeout(limit):
            output, complaint = await asyncio.gather(
                _read(process.stdout, ANSWER_BYTES), _read(process.stderr, 65536)
            )
            code = await process.wait()
    except TimeoutError:
        return Stacks(problem=TOO_LONG)
    finally:
        await end_group(process)
        let_go(process)
    if code != 0 or not output:
        return Stacks(problem=await asyncio.to_thread(_problem, complaint))
    threads = await asyncio.to_thread(_threads, output, pid)
    return Stacks(threads) if threads is not None else Stacks(problem=FAILED)


async def _read(stream: asyncio.StreamReader | None, limit: int) -> bytes:
    """All of it; b"" where it is more than `limit` bytes, which are read and dropped."""
    assert stream is not None  # noqa: S101 - a pipe was asked for
    parts: list[bytes] = []
    size = 0
    while chunk := await stream.read(65536):
        size += len(chunk)
        if size <= limit:
            parts.append(chunk)
    return b"".join(parts) if size <= limit else b""


def _problem(complaint: bytes) -> str:
    text = complaint.decode("utf-8", "replace").lower()
    denied = ("permission denied", "operation not permitted", "eperm")
    if any(word in text for word in denied) or _is_restricted():
        return NOT_ALLOWED
    return FAILED


def _is_restricted() -> bool:
    """Whether the host lets a process trace its own descendants only, which ranks are not of
    py-spy. It then fails at whatever it reads first. Blocking.
    """
    try:
        with open(YAMA, "rb") as file:
            return file.read(8).strip() not in (b"", b"0")
    except OSError:
        return False


def _threads(output: bytes, pid: int) -> tuple[Thread, ...] | None:
    """From py-spy's JSON, with the text of the script's innermost line. Blocking."""
    try:
        found = json.loads(output)
        threads = [_thread(one, pid) for one in found[:MOST_THREADS]]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
    if threads and not any(thread.main for thread in threads):
        # without the kernel's number of a thread the first that Python made is the last listed
        threads[-1] = replace(threads[-1], main=True)
    return tuple(threads)


def _thread(one: dict[str, object], pid: int) -> Thread:
    listed = one["frames"]
    if not isinstance(listed, list):
        raise TypeError("frames")
    frames = [
        Frame(str(each["name"]), str(each["filename"]), int(each["line"]))
        for each in listed[:MOST_FRAMES]
    ]
    if frames and not is_library(frames[0].file):
        frames[0] = replace(frames[0], text=_line(pid, frames[0].file, frames[0].line))
    main = one.get("os_thread_id") == pid or one.get("thread_name") == "MainThread"
    return Thread(main, tuple(frames))


def _line(pid: int, path: str, number: int) -> str:
    """A line of a source file of a process; "" where it cannot be read."""
    if not path.endswith(".py") or number < 1:
        return ""
    try:
        if not os.path.isabs(path):
            path = os.path.join(os.readlink(f"/proc/{pid}/cwd"), path)
        # a FIFO in its place must not make us wait
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:
            lines = (file.read(SCRIPT_BYTES) or b"").split(b"\n")
    except (OSError, ValueError):
        return ""
    if number > len(lines):
        return ""
    return lines[number - 1].decode("utf-8", "replace").strip()[:LINE_CHARACTERS]
