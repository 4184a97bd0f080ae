"""Runs probe scripts: one process each, with a time limit.

Guarantees: a probe never outlives its time limit or the cancellation of `run_probe` (its whole process group is
killed; one that the kernel cannot kill, stuck in a driver call, is abandoned after `REAP_SECONDS`); its output
is bounded; whatever it does becomes a ProbeResult, never an exception; the event loop only waits.
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

from .facts import Failure, FailureKind, ProbeResult

PROBES_DIR = Path(__file__).parent / "probes"
MARK = b"\x1egpucamp-probe "
ANSWER_LIMIT = 2**20
STDERR_TAIL = 4000
REAP_SECONDS = 2.0


@dataclass(frozen=True)
class Probe:
    """What to run: `probes/<script>.py` with arguments, under `limit` seconds, filed as `name`."""

    name: str
    script: str
    limit: float
    arguments: tuple[str, ...] = ()


class _Flood(Exception):
    """More output than any probe has."""


async def run_probe(
    probe: Probe, python: Sequence[str], env: Mapping[str, str], cwd: str
) -> ProbeResult:
    """Runs `probe` with the interpreter command `python`."""
    started = time.monotonic()

    def failed(
        kind: FailureKind, detail: str, code: int | None, stderr: bytes = b""
    ) -> ProbeResult:
        text = stderr.decode("utf-8", "replace")[-STDERR_TAIL:]
        failure = Failure(kind, detail, code, text)
        return ProbeResult(probe.name, time.monotonic() - started, failure=failure)

    try:
        process = await _start(
            [*python, str(PROBES_DIR / "run_probe.py"), probe.script, *probe.arguments], env, cwd
        )
    except (OSError, ValueError) as error:
        return failed("not-started", f"{type(error).__name__}: {error}", None)

    stderr = bytearray()
    draining = asyncio.create_task(_read_tail(process.stderr, stderr))
    try:
        async with asyncio.timeout(probe.limit):
            answer = await _read_answer(process.stdout)
            code = 0 if answer is not None else await process.wait()
    except TimeoutError:
        return failed("timeout", f"no answer within {probe.limit:g} s", None, stderr)
    except _Flood:
        return failed("flood", f"more than {ANSWER_LIMIT} bytes of output", None, stderr)
    finally:
        await end_group(process)
        await asyncio.wait([draining], timeout=0.2)
        draining.cancel()
        _let_go(process)

    if answer is None:
        if code < 0:
            return failed("crashed", f"ended by {_signal_name(-code)}", code, stderr)
        if code > 0:
            return failed("crashed", f"ended with status {code}", code, stderr)
        return failed("garbage", "ended without an answer", code, stderr)
    try:
        value = json.loads(answer)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        return failed("garbage", "its answer is not a JSON object", code, stderr)
    return ProbeResult(probe.name, time.monotonic() - started, value)


async def _start(
    argv: Sequence[str], env: Mapping[str, str], cwd: str
) -> asyncio.subprocess.Process:
    """A process in a group of its own; cancelled meanwhile, it leaves none behind."""
    creating = asyncio.ensure_future(
        asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
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
            _let_go(creating.result())
        raise


def _let_go(process: asyncio.subprocess.Process) -> None:
    """Closes the pipes; asyncio has no public way, and they may be full or held by an escaped child."""
    process._transport.close()  # type: ignore[attr-defined]


async def end_group(process: asyncio.subprocess.Process) -> None:
    """Kills a process and all of its group, and waits a moment for it; idempotent, finishes when cancelled."""
    # also after a normal end: a probe may leave a child behind
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    if process.returncode is None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(REAP_SECONDS):
                await process.wait()


async def _read_answer(stream: asyncio.StreamReader | None) -> bytes | None:
    """The last marked line; what an environment's start-up code printed before it is dropped."""
    assert stream is not None  # noqa: S101 - a pipe was asked for
    data = bytearray()
    while chunk := await stream.read(65536):
        data += chunk
        if len(data) > ANSWER_LIMIT:
            raise _Flood
        if data.endswith(b"\n") and MARK in data:
            break  # a child that keeps the pipe open must not keep us
    _, mark, answer = bytes(data).rpartition(MARK)
    return answer if mark else None


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
