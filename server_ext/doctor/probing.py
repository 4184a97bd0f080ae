"""Runs probe scripts: one process each, with a time limit.

Guarantees: a probe never outlives its time limit or the cancellation of `run_probe` (its whole
process group is killed; one that the kernel cannot kill, stuck in a driver call, is abandoned
after `REAP_SECONDS`); one that has answered is killed, too, and nobody waits until it is gone: to
free torch's memory takes a twentieth of an examination; its output is bounded; whatever it does
becomes a ProbeResult, never an exception; the event loop only waits.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .adopted import Adopted, adopt
from .facts import Failure, FailureKind, ProbeResult
from .head_start import HeadStart

PROBES_DIR = Path(__file__).parent / "probes"
MARK = b"\x1egpucamp-probe "
PARTIAL = b"\x1egpucamp-probe+ "
ANSWER_LIMIT = 2**20
STDERR_TAIL = 4000
REAP_SECONDS = 2.0


@dataclass(frozen=True)
class Probe:
    """What to run: `probes/<script>.py` with arguments, filed as `name`.

    limit: seconds that it may take; after a first, partial answer: `rest` more seconds.
    """

    name: str
    script: str
    limit: float
    arguments: tuple[str, ...] = ()
    rest: float = 0.0


Process = asyncio.subprocess.Process | Adopted


class _Flood(Exception):
    """More output than any probe has."""


async def run_probe(
    probe: Probe,
    python: Sequence[str],
    env: Mapping[str, str],
    cwd: str,
    *,
    early: HeadStart | None = None,
) -> ProbeResult:
    """Runs `probe` with the interpreter command `python`. early: what may be running it already."""
    started = time.monotonic()

    def failed(
        kind: FailureKind, detail: str, code: int | None, stderr: bytes | bytearray = b""
    ) -> ProbeResult:
        text = stderr.decode("utf-8", "replace")[-STDERR_TAIL:]
        failure = Failure(kind, detail, code, text)
        return ProbeResult(probe.name, time.monotonic() - started, failure=failure)

    try:
        argv = [*python, str(PROBES_DIR / "run_probe.py"), probe.script, *probe.arguments]
        if early is not None and early.take(argv, env, cwd):
            process: Process = await adopt(early.pid, early.stdout, early.stderr)
        else:
            process = await start_group(argv, env, cwd)
    except (OSError, ValueError, RuntimeError) as error:  # the last: no room for a thread
        return failed("not-started", f"{type(error).__name__}: {error}", None)

    stderr = bytearray()
    draining = asyncio.create_task(_read_tail(process.stderr, stderr))
    output = bytearray()
    answered = False
    try:
        async with asyncio.timeout(probe.limit) as limit:
            code = await _read_answer(process, output, limit, probe.rest)
    except TimeoutError:
        ending: tuple[FailureKind, str, int | None] | None = ("timeout", "no answer in time", None)
    except _Flood:
        ending = ("flood", f"more than {ANSWER_LIMIT} bytes of output", None)
    else:
        ending = _ending(code)
        answered = code is None
    finally:
        if answered:
            _kill_group(process)
            dying = asyncio.create_task(_end(process, draining))
            _dying.add(dying)  # the loop itself does not keep it
            dying.add_done_callback(_dying.discard)
        else:
            await _end(process, draining)

    value = _answer(output, MARK)
    if value is not None:
        return ProbeResult(probe.name, time.monotonic() - started, value)
    kind, detail, status = ending or ("garbage", "its answer is not a JSON object", 0)
    partial = _answer(output, PARTIAL)
    if partial is None:
        return failed(kind, detail, status, stderr)
    cut_short = {"kind": kind, "detail": detail}
    return ProbeResult(probe.name, time.monotonic() - started, {**partial, "cut_short": cut_short})


def _ending(code: int | None) -> tuple[FailureKind, str, int | None] | None:
    """How a process that said nothing more ended; None: it gave an answer."""
    if code is None:
        return None
    if code < 0:
        return "crashed", f"ended by {_signal_name(-code)}", code
    if code > 0:
        return "crashed", f"ended with status {code}", code
    return "garbage", "ended without an answer", code


def _answer(output: bytearray, mark: bytes) -> dict[str, object] | None:
    """The last whole line with this mark, if it is a JSON object."""
    _, found, rest = bytes(output).rpartition(mark)
    line, end, _ = rest.partition(b"\n")
    if not found or not end:
        return None
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


async def start_group(
    argv: Sequence[str],
    env: Mapping[str, str],
    cwd: str,
    stderr: int = asyncio.subprocess.PIPE,
) -> asyncio.subprocess.Process:
    """A process in a group of its own; cancelled meanwhile, it leaves none behind.

    Raises OSError, ValueError.
    """
    creating = asyncio.ensure_future(
        asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=stderr,
            env=dict(env),
            cwd=cwd,
            start_new_session=True,
        )
    )
    try:
        return await asyncio.shield(creating)
    except asyncio.CancelledError:
        # asyncio itself would end the process only, not the children that it may already have
        await asyncio.wait([creating])
        if creating.exception() is None:
            await end_group(creating.result())
            let_go(creating.result())
        raise


def let_go(process: Process) -> None:
    """Closes the pipes; asyncio has no public way, and they may be full or held by an escaped
    child.
    """
    if isinstance(process, Adopted):
        process.close()
    else:
        process._transport.close()  # type: ignore[attr-defined]


async def end_group(process: Process) -> None:
    """Kills a process and all of its group, and waits a moment for it; idempotent, finishes when
    cancelled.
    """
    _kill_group(process)
    if process.returncode is None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(REAP_SECONDS):
                await process.wait()


def _kill_group(process: Process) -> None:
    # also after a normal end: a probe may leave a child behind
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


async def _end(process: Process, draining: asyncio.Task[None]) -> None:
    try:
        await end_group(process)
        await asyncio.wait([draining], timeout=0.2)
    finally:
        draining.cancel()
        let_go(process)


_dying: set[asyncio.Task[None]] = set()


async def _read_answer(
    process: Process, output: bytearray, limit: asyncio.Timeout, rest: float
) -> int | None:
    """Reads into `output` until the answer is there (None), or the end of the process (its
    status).
    """
    assert process.stdout is not None  # noqa: S101 - a pipe was asked for
    prolonged = False
    while chunk := await process.stdout.read(65536):
        output += chunk
        if len(output) > ANSWER_LIMIT:
            raise _Flood
        if output.endswith(b"\n") and MARK in output:
            return None  # a child that keeps the pipe open must not keep us
        if rest and not prolonged and PARTIAL in output:
            prolonged = True
            limit.reschedule(asyncio.get_running_loop().time() + rest)
    return await process.wait()


async def _read_tail(stream: asyncio.StreamReader | None, tail: bytearray) -> None:
    """Drains stderr, keeping its end in `tail`."""
    assert stream is not None  # noqa: S101 - a pipe was asked for
    while chunk := await stream.read(65536):
        tail += chunk
        del tail[: -2 * STDERR_TAIL]


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
