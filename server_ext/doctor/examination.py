"""One examination: runs the probes, lets the checks decide, tells what it finds as it finds it.

Guarantees: `examine` always ends with Finished, whatever probes do; when its consumer stops
(aclose, cancel), all probe processes are ended before it returns. Probes about the container run
with the server's own Python, isolated, so that a broken environment cannot hide a broken GPU;
probes about the kernel run with the kernel's Python in the kernel's environment.

The order is for speed. torch takes most of the time, so it starts first; it does not wait to hear
that the kernel's Python starts, and its answer does not count when that Python turns out not to.
The other probes fit in beside it, those about the container first: they give the first results.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime

from . import host_view, reference
from .checks import ALL_CHECKS
from .checks.culprits import LIKELY, Suspect, describe, suspects
from .facts import Facts, Failure, ProbeResult
from .findings import Finding
from .kernel import Kernel
from .probing import Probe, run_probe
from .report import Finished, Outcome, advance
from .settings import Settings


@dataclass(frozen=True)
class Started:
    """The examination began. checks: how many questions it asks."""

    kernel: str
    checks: int


@dataclass(frozen=True)
class Probed:
    """A probe ended. failed: it gave no facts; decided: how many checks were answered before it."""

    name: str
    seconds: float
    failed: bool
    decided: int


@dataclass(frozen=True)
class Found:
    """A finding is certain."""

    finding: Finding


Event = Started | Probed | Found | Finished

_KERNEL_PROBES = ("python", "packages", "ipykernel", "torch")
_NO_START = "the kernel's Python does not start"
_IMPORTED = {"torch": "torch", "ipykernel": "ipykernel.kernelapp"}


async def examine(
    name: str, find_kernel: Callable[[], Awaitable[Kernel]], settings: Settings
) -> AsyncGenerator[Event, None]:
    """Examines the kernel that `find_kernel` gives."""
    started_at = datetime.now(UTC).isoformat(timespec="seconds")
    started = time.monotonic()
    yield Started(name, len(ALL_CHECKS))
    kernel = await find_kernel()
    results = dict(kernel.facts())
    outcomes: dict[str, Outcome] = {}
    rounds = _Rounds(kernel, settings)
    try:
        rounds.begin()
        while True:
            for outcome in advance(ALL_CHECKS, Facts(results), outcomes):
                outcomes[outcome.check.name] = outcome
                for finding in outcome.findings:
                    yield Found(finding)
            if not rounds.running:
                break
            for result in await rounds.next_results():
                results[result.name] = result
                rounds.follow_up(result, Facts(results))
                failed = result.failure is not None
                yield Probed(result.name, result.seconds, failed, len(outcomes))
    finally:
        await rounds.end()
    ordered = tuple(outcomes[check.name] for check in ALL_CHECKS if check.name in outcomes)
    yield Finished(started_at, time.monotonic() - started, name, ordered, results)


class _Rounds:
    """The probes of one examination, a few at a time."""

    def __init__(self, kernel: Kernel, settings: Settings) -> None:
        self._kernel = kernel
        self._settings = settings
        self._turn = asyncio.Semaphore(settings.concurrency)
        self.running: set[asyncio.Task[ProbeResult]] = set()
        self._inner: set[asyncio.Task[ProbeResult]] = set()  # whose results others pass on
        self._culprits_asked: set[str] = set()

    def begin(self) -> None:
        """Starts what depends on nothing; torch first, then the quick."""
        limits, folders = (
            self._settings.limits,
            (str(self._settings.work), str(self._settings.home)),
        )
        if self._kernel.python:
            torch = Probe("torch", "imports", limits.torch, ("torch",), rest=limits.torch_gpu)
            importing = asyncio.create_task(self._in_kernel(torch))
            self._inner.add(importing)
            python = self._start(
                self._in_kernel(Probe("python", "python", limits.python, folders[:1]))
            )
            self._start(_unless_it_fails(python, importing))
        else:
            for name in _KERNEL_PROBES:
                self._start(_not_started(name, "the kernel has no Python"))
        for probe in (
            Probe("system", "system", limits.system),
            Probe("nvml", "nvml", limits.nvml),
            Probe("resources", "resources", limits.resources, folders),
            Probe("libcuda", "libcuda", limits.libcuda),
        ):
            self._start(self._in_container(probe))
        # not with the kernel's variables: they have no token
        self._start(host_view.ask(os.environ))
        self._start(asyncio.to_thread(reference.read, self._settings))

    def follow_up(self, result: ProbeResult, facts: Facts) -> None:
        """Starts what became possible or necessary by this result."""
        limits = self._settings.limits
        if result.name == "python" and self._kernel.python:
            if result.failure is None:
                base = (str(self._settings.base),)
                self._start(self._in_kernel(Probe("packages", "packages", limits.packages, base)))
                module = (_IMPORTED["ipykernel"],)
                probe = Probe("ipykernel", "imports", limits.ipykernel, module)
                self._start(self._in_kernel(probe))
            else:
                for name in ("packages", "ipykernel"):
                    self._start(_not_started(name, _NO_START))
        for name in _IMPORTED:
            known = all(other in facts.results for other in (name, "packages", "reference"))
            if known and name not in self._culprits_asked:
                self._culprits_asked.add(name)
                self._start(self._find_culprit(name, facts))

    async def next_results(self) -> list[ProbeResult]:
        """Waits for at least one probe to end."""
        done, self.running = await asyncio.wait(self.running, return_when=asyncio.FIRST_COMPLETED)
        return [task.result() for task in done]

    async def end(self) -> None:
        """Ends every probe that still runs."""
        tasks = self.running | self._inner
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        self.running, self._inner = set(), set()

    def _start(self, work: Coroutine[object, object, ProbeResult]) -> asyncio.Task[ProbeResult]:
        task = asyncio.create_task(work)
        self.running.add(task)
        return task

    async def _in_container(self, probe: Probe) -> ProbeResult:
        async with self._turn:
            return await run_probe(probe, [sys.executable, "-I", "-S"], self._kernel.env, "/")

    async def _in_kernel(self, probe: Probe) -> ProbeResult:
        async with self._turn:
            return await run_probe(probe, self._kernel.python, self._kernel.env, "/")

    # -- which package is to blame

    async def _find_culprit(self, name: str, facts: Facts) -> ProbeResult:
        """Imports again without the suspects: what helps is the culprit."""
        started = time.monotonic()
        found: tuple[Suspect, ...] = ()
        failure = facts.failure(name)
        failed = facts.flag(name, "ok") is False or (
            failure is not None and failure.kind != "not-started"
        )
        candidates = suspects(facts, name) if failed else ()
        if candidates:
            try:
                async with asyncio.timeout(self._settings.limits.culprit):
                    found = await self._narrow_down(name, candidates)
            except TimeoutError:
                found = ()
        value = {
            "tried": [describe(suspect) for suspect in candidates[:LIKELY]],
            "culprits": [describe(suspect) for suspect in found],
        }
        return ProbeResult(f"{name}_culprit", time.monotonic() - started, value)

    async def _narrow_down(self, name: str, candidates: tuple[Suspect, ...]) -> tuple[Suspect, ...]:
        """A smallest set without which the import works; () if it is none of them."""
        for suspect in candidates[:LIKELY]:
            if await self._imports_without(name, (suspect,)):
                return (suspect,)
        if len(candidates) < 2 or not await self._imports_without(name, candidates):
            return ()
        needed = candidates
        while len(needed) > 1:
            middle = len(needed) // 2
            for half in (needed[:middle], needed[middle:]):
                if await self._imports_without(name, half):
                    needed = half
                    break
            else:
                break  # some of both halves are to blame
        for suspect in needed if len(needed) > 1 else ():
            fewer = tuple(other for other in needed if other is not suspect)
            if fewer and await self._imports_without(name, fewer):
                needed = fewer
        return needed

    async def _imports_without(self, name: str, hidden: tuple[Suspect, ...]) -> bool:
        modules = ",".join(sorted({module for suspect in hidden for module in suspect.modules}))
        directories = sorted({suspect.directory for suspect in hidden})
        limit = min(self._settings.limits.torch, self._settings.limits.culprit / 2)
        arguments = (_IMPORTED[name], "--without", modules, "--over", *directories)
        result = await self._in_kernel(Probe(name, "imports", limit, arguments))
        return result.failure is None and result.value.get("ok") is True


async def _unless_it_fails(
    python: asyncio.Task[ProbeResult], importing: asyncio.Task[ProbeResult]
) -> ProbeResult:
    """What `importing` gives, if the kernel's Python turns out to start; else it is ended."""
    await asyncio.wait({python})
    if not python.cancelled() and python.result().failure is None:
        return await importing
    importing.cancel()
    await asyncio.wait({importing})
    return ProbeResult("torch", failure=Failure("not-started", _NO_START))


async def _not_started(name: str, why: str) -> ProbeResult:
    return ProbeResult(name, failure=Failure("not-started", why))
