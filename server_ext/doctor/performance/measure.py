"""One measurement: runs the probe and the ranks, tells what they find out as they find it out.

Guarantees: `measure` always ends with Measured, whatever the kernel's Python does; when its
consumer stops (aclose, cancel), all of its processes are ended before it returns, and so they are
when this process is killed. Runs take a bounded time and a small share of
what is free; each line and the sum of all output is bounded.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..checks import ON_DEMAND
from ..facts import Facts, FailureKind, ProbeResult
from ..findings import Finding
from ..kernel import Kernel
from ..probing import (
    MARK,
    PARTIAL,
    PROBES_DIR,
    STDERR_TAIL,
    Probe,
    end_group,
    let_go,
    run_probe,
    start_group,
)
from ..report import advance
from . import figures
from .figures import Figure, Skipped
from .ranks_text import problem_of

_MOST_OUTPUT = 4 * 2**20
_LONGEST_LINE = 256 * 1024
_PREFIX, _LEFT_SECONDS = "gpucamp-ranks-", 600.0
_REDUCTIONS = 2  # by gloo and by NCCL: steps after those of the probe
# of these, the ranks meet in a file
_PLACES = ("/dev/shm", "/tmp")  # noqa: S108 - a folder of its own name is made in it


@dataclass(frozen=True)
class Limits:
    """Seconds. probe: for the import of torch and all figures; rank: for its import, the meeting
    and the sums; grace: for the other rank when one has failed. cgroup: where this server's is.
    """

    probe: float = 90.0
    rank: float = 60.0
    grace: float = 2.0
    cgroup: str = "/sys/fs/cgroup"


@dataclass(frozen=True)
class Begun:
    """The measurement began."""

    kernel: str


@dataclass(frozen=True)
class Step:
    """What is being measured now, the `done`-th of `steps`."""

    name: str
    done: int
    steps: int


@dataclass(frozen=True)
class Measured:
    """All that was found out. started_at: ISO 8601, UTC."""

    started_at: str
    seconds: float
    kernel: str
    torch: str
    figures: tuple[Figure, ...]
    skipped: tuple[Skipped, ...]
    findings: tuple[Finding, ...]
    facts: Mapping[str, ProbeResult]


Event = Begun | Step | Figure | Skipped | Finding | Measured


async def measure(kernel: Kernel, limits: Limits | None = None) -> AsyncGenerator[Event, None]:
    """Measures the kernel's torch on what this server has. The kernel must have a Python."""
    limits = limits or Limits()
    started_at = datetime.now(UTC).isoformat(timespec="seconds")
    started = time.monotonic()
    yield Begun(kernel.name)
    told: list[Figure | Skipped] = []
    step = ("", 0)
    facts: dict[str, ProbeResult] = {}

    def news(value: Mapping[str, object]) -> list[Figure | Skipped]:
        known: list[Figure | Skipped] = [*figures.figures(value), *figures.skipped(value)]
        fresh = [item for item in known if item not in told]
        told.extend(fresh)
        return fresh

    value: dict[str, Any] = {}
    async with aclosing(_run(kernel, limits)) as answers:
        async for value in answers:
            for item in news(value):
                yield item
            now = figures.step(value)
            if now.name and (now.name, now.done) != step:
                step = (now.name, now.done)
                yield Step(now.name, now.done, now.steps + _REDUCTIONS)
    facts["performance"] = ProbeResult("performance", time.monotonic() - started, value)
    reduced: dict[str, Any] = {}
    simulated = kernel.env.get("GPUCAMP_SIMULATED") == "1"
    for turn, backend in enumerate(figures.backends(value, simulated=simulated), 1):
        if isinstance(backend, Skipped):
            told.append(backend)
            yield backend
            continue
        steps = figures.step(value).steps
        yield Step(f"all-reduce-{backend}", steps + turn, steps + _REDUCTIONS)
        reduced[backend] = await _all_reduce(kernel, backend, value, limits)
        for item in news({"all_reduce": reduced}):
            yield item
    facts["all_reduce"] = ProbeResult("all_reduce", value=reduced)
    found = tuple(
        finding for outcome in advance(ON_DEMAND, Facts(facts), {}) for finding in outcome.findings
    )
    for finding in found:
        yield finding
    yield Measured(
        started_at,
        time.monotonic() - started,
        kernel.name,
        figures.torch_version(value),
        tuple(item for item in told if isinstance(item, Figure)),
        tuple(item for item in told if isinstance(item, Skipped)),
        found,
        facts,
    )


# -- the probe


async def _run(kernel: Kernel, limits: Limits) -> AsyncGenerator[dict[str, Any], None]:
    """All that the probe knows, again and again; last with `cut_short` if it did not end well."""
    value: dict[str, Any] = {}
    stderr = bytearray()

    def ended(kind: FailureKind, detail: str) -> dict[str, Any]:
        text = stderr.decode("utf-8", "replace")[-STDERR_TAIL:]
        return {**value, "cut_short": {"kind": kind, "detail": detail, "stderr": text}}

    # it ends itself a little later than it is ended here, should this process be gone
    words = (str(PROBES_DIR / "performance.py"), str(int(limits.probe) + 5), limits.cgroup)
    argv = [*kernel.python, *words]
    try:
        process = await start_group(argv, kernel.env, "/")
    except (OSError, ValueError) as error:
        yield ended("not-started", f"{type(error).__name__}: {error}")
        return
    draining = asyncio.create_task(_drain(process.stderr, stderr))
    problem: tuple[FailureKind, str] | None = None
    try:
        async with aclosing(_lines(process, limits.probe)) as lines:
            async for item in lines:
                if isinstance(item, tuple):
                    problem = item
                    break
                last, value = item["last"], item["value"]
                yield value
                if last:
                    break
    finally:
        await end_group(process)
        await asyncio.wait([draining], timeout=0.2)
        draining.cancel()
        let_go(process)
    if problem is not None:
        yield ended(*problem)


async def _lines(
    process: asyncio.subprocess.Process, limit: float
) -> AsyncGenerator[dict[str, Any] | tuple[FailureKind, str], None]:
    """Each marked line as {last, value}; at the end, without a last one, what went wrong."""
    assert process.stdout is not None  # noqa: S101 - a pipe was asked for
    loop = asyncio.get_running_loop()
    deadline, total, rest = loop.time() + limit, 0, b""
    while True:
        try:
            async with asyncio.timeout_at(deadline):
                chunk = await process.stdout.read(65536)
                status = await process.wait() if not chunk else None
        except TimeoutError:
            yield "timeout", f"no end after {limit:.0f} s"
            return
        if not chunk:
            yield "crashed", _ending(status)
            return
        total += len(chunk)
        *lines, rest = (rest + chunk).split(b"\n")
        if total > _MOST_OUTPUT or len(rest) > _LONGEST_LINE:
            yield "flood", "more output than a measurement has"
            return
        for line in lines:
            item = _parsed(line)
            if item is not None:
                yield item


def _parsed(line: bytes) -> dict[str, Any] | None:
    """Of a line with a mark, whatever was printed before it."""
    for mark, last in ((MARK, True), (PARTIAL, False)):
        _, found, text = line.rpartition(mark)
        if found:
            with contextlib.suppress(ValueError, RecursionError):
                value = json.loads(text)
                if isinstance(value, dict):
                    return {"last": last, "value": value}
    return None


def _ending(status: int | None) -> str:
    if status == -9:
        return "it was killed, as happens when memory runs out"
    return f"it ended with status {status}" if status else "it ended without an answer"


async def _drain(stream: asyncio.StreamReader | None, tail: bytearray) -> None:
    assert stream is not None  # noqa: S101 - a pipe was asked for
    while chunk := await stream.read(65536):
        tail += chunk
        del tail[: -2 * STDERR_TAIL]


# -- the ranks


async def _all_reduce(
    kernel: Kernel, backend: str, value: Mapping[str, object], limits: Limits
) -> dict[str, Any]:
    """{backend, bytes, seconds} or {backend, problem, said}; by NCCL, when it does not work, also
    whether it would without P2P.
    """
    size = figures.all_reduce_bytes(backend, value)
    result = await _two_ranks(kernel, backend, size, limits, {})
    if backend == "nccl" and "problem" in result and "NCCL_P2P_DISABLE" not in kernel.env:
        again = await _two_ranks(kernel, backend, size, limits, {"NCCL_P2P_DISABLE": "1"})
        result["works_without_p2p"] = "problem" not in again
    return result


async def _two_ranks(
    kernel: Kernel, backend: str, size: int, limits: Limits, variables: Mapping[str, str]
) -> dict[str, Any]:
    making = asyncio.ensure_future(asyncio.to_thread(_make_place))
    try:
        folder = await asyncio.shield(making)
    except asyncio.CancelledError:
        await asyncio.wait([making])  # the thread goes on and makes it
        if making.exception() is None:
            shutil.rmtree(making.result(), ignore_errors=True)
        raise
    except OSError as error:
        return {"backend": backend, "problem": f"there is no room to meet: {error}", "said": ""}
    env = {
        **{name: text for name, text in kernel.env.items() if not name.startswith("TORCHELASTIC_")},
        # both are here: no network is asked, and no name is looked up
        "GLOO_SOCKET_IFNAME": "lo",
        "NCCL_SOCKET_IFNAME": "lo",
        "NCCL_DEBUG": "WARN",
        "OMP_NUM_THREADS": "1",
        **variables,
    }
    tasks = []
    try:
        for rank in range(2):
            words = (str(rank), backend, f"{folder}/store", str(size), str(int(limits.rank) + 5))
            probe = Probe(f"rank {rank}", "rank", limits.rank, words)
            tasks.append(asyncio.create_task(run_probe(probe, kernel.python, env, "/")))
        done, waiting = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if waiting and not all(_is_well(task.result()) for task in done):
            # the other waits for it, and perhaps says a word more before its end
            await asyncio.wait(waiting, timeout=limits.grace)
        elif waiting:
            await asyncio.wait(waiting)
        ended = [task.result() if task.done() else None for task in tasks]
    finally:
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await asyncio.shield(asyncio.to_thread(shutil.rmtree, folder, True))
    return {"backend": backend, **_together(backend, ended)}


def _make_place() -> str:
    """A new folder for the file in which the ranks meet. Raises OSError."""
    problem: OSError | None = None
    for place in _PLACES:
        _sweep(Path(place))
        try:
            folder = tempfile.mkdtemp(prefix=_PREFIX, dir=place)
            try:
                # a disk without room has room for a folder, and a rank would wait for ever
                with open(os.path.join(folder, "room"), "wb") as file:
                    file.write(bytes(65536))
                    file.flush()
                    os.fsync(file.fileno())
                return folder
            except OSError:
                shutil.rmtree(folder, ignore_errors=True)
                raise
        except OSError as error:
            problem = error
    raise problem or OSError("no place")


def _sweep(place: Path) -> None:
    """What a measurement left that was killed, long enough ago to be sure of it."""
    for folder in place.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            if time.time() - folder.lstat().st_mtime > _LEFT_SECONDS and not folder.is_symlink():
                shutil.rmtree(folder, ignore_errors=True)


def _is_well(result: ProbeResult) -> bool:
    return result.failure is None and result.value.get("ok") is True


def _together(backend: str, ended: list[ProbeResult | None]) -> dict[str, Any]:
    """What two ranks' ends say about the pair."""
    if all(result is not None and _is_well(result) for result in ended):
        facts = Facts({f"rank {rank}": result for rank, result in enumerate(ended) if result})
        seconds = [facts.number(name, "seconds") or 0.0 for name in facts.results]
        sizes = [facts.integer(name, "bytes") or 0 for name in facts.results]
        if min(seconds) > 0 and min(sizes) > 0:
            peer = facts.flag("rank 0", "peer")
            return {"seconds": max(seconds), "bytes": min(sizes), "peer": peer}
    problem, said = problem_of(backend, [result for result in ended if result is not None])
    return {"problem": problem, "said": said}
