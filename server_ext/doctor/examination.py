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
import contextlib
import json
import os
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial

from . import host_view, reference, running, startup
from .apart import temporary_files_apart
from .checks import ALL_CHECKS
from .checks.culprits import LIKELY, Suspect, blamable, describe, is_absent, replacing, suspects
from .checks.extensions import broken_of_the_image, candidates
from .checks.starting import folders_to_try, question
from .facts import Facts, Failure, ProbeResult
from .findings import Finding
from .head_start import HeadStart
from .kernel import Kernel
from .narrowing import smallest
from .probing import Probe, run_probe
from .repairs.plan import with_repairs
from .report import Finished, Outcome, advance
from .settings import Settings
from .threads import in_thread


@dataclass(frozen=True)
class Started:
    """The examination began. checks: how many questions it asks; kernel_id: as in Finished."""

    kernel: str
    checks: int
    kernel_id: str = ""


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
    name: str,
    find_kernel: Callable[[], Awaitable[Kernel]],
    settings: Settings,
    *,
    kernel_id: str = "",
    kernels: Callable[[], Coroutine[object, object, ProbeResult]] | None = None,
    early: HeadStart | None = None,
) -> AsyncGenerator[Event, None]:
    """Examines the kernel that `find_kernel` gives. kernel_id: of the running one that it is;
    kernels: asks for the facts about all that run (running_kernels.py); early: what may be torch's
    probe already, and stays the caller's to end.
    """
    started_at = datetime.now(UTC).isoformat(timespec="seconds")
    started = time.monotonic()
    yield Started(name, len(ALL_CHECKS), kernel_id)
    kernel = await find_kernel()
    results = dict(kernel.facts())
    outcomes: dict[str, Outcome] = {}
    python = kernel.python[0] if kernel.python else ""
    rounds = _Rounds(kernel, settings, early)
    try:
        rounds.begin(kernels)
        while True:
            facts = Facts(results)
            for decided in advance(ALL_CHECKS, facts, outcomes):
                outcome = with_repairs(decided, facts, kernel.name, python)
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
    yield Finished(started_at, time.monotonic() - started, name, ordered, results, kernel_id)


class _Rounds:
    """The probes of one examination, a few at a time."""

    def __init__(self, kernel: Kernel, settings: Settings, early: HeadStart | None) -> None:
        self._kernel = kernel
        self._early = early
        self._settings = settings
        self._turn = asyncio.Semaphore(settings.concurrency)
        self.running: set[asyncio.Task[ProbeResult]] = set()
        self._inner: set[asyncio.Task[ProbeResult]] = set()  # whose results others pass on
        self._asked: set[str] = set()  # names of what `_once_known` has started

    def begin(
        self, kernels: Callable[[], Coroutine[object, object, ProbeResult]] | None = None
    ) -> None:
        """Starts what depends on nothing; torch first, then the quick."""
        limits, folders = (
            self._settings.limits,
            (str(self._settings.work), str(self._settings.home)),
        )
        if self._kernel.python:
            record = ("--record", str(self._settings.deferred_record))
            torch = Probe(
                "torch", "imports", limits.torch, ("torch", *record), rest=limits.torch_gpu
            )
            importing = asyncio.create_task(self._in_kernel(torch, self._early))
            where = self._kernel.folder or folders[0]
            self._inner.add(importing)
            python = self._start(
                self._in_kernel(Probe("python", "python", limits.python, (where,)))
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
        if _asks_the_network(self._kernel.env):
            made = str(self._settings.image_root / "versions.json")
            self._start(self._in_container(Probe("network", "network", limits.network, (made,))))
        else:
            self._start(_nothing("network"))
        # not with the kernel's variables: they have no token
        self._start(host_view.ask(os.environ))
        self._start(in_thread(reference.read, self._settings))
        self._start(self._beside(kernels) if kernels is not None else _nothing("kernels"))

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
        if result.name == "python":
            self._start(startup.find(result.failure, self._kernel.env, self._starts))
        self._once_known(("python", "ipykernel"), facts, "start", self._try_start)
        needs = ("torch", "packages", "reference")
        self._once_known(needs, facts, "extensions", self._try_extensions)
        if result.name == "torch":  # the last, mostly: whether the kernel outlived all of it
            self._start(running.still_there(self._kernel.process))
        for name in _IMPORTED:
            find = partial(self._find_culprit, name)
            self._once_known((name, "packages", "reference"), facts, f"{name}_culprit", find)

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

    def _once_known(
        self,
        needs: tuple[str, ...],
        facts: Facts,
        name: str,
        work: Callable[[Facts], Coroutine[object, object, ProbeResult]],
    ) -> None:
        """Starts what gives the result `name` when all that it needs has been told; once."""
        if name not in self._asked and all(need in facts.results for need in needs):
            self._asked.add(name)
            self._start(work(facts))

    async def _beside(
        self, kernels: Callable[[], Coroutine[object, object, ProbeResult]]
    ) -> ProbeResult:
        async with self._turn:
            return await kernels()

    async def _in_container(self, probe: Probe) -> ProbeResult:
        async with self._turn:
            return await run_probe(probe, [sys.executable, "-I", "-S"], self._kernel.env, "/")

    async def _in_kernel(self, probe: Probe, early: HeadStart | None = None) -> ProbeResult:
        async with self._turn:
            return await run_probe(probe, self._kernel.python, self._kernel.env, "/", early=early)

    async def _starts(self, env: Mapping[str, str]) -> bool:
        """Whether the kernel's Python starts with these variables."""
        async with self._turn:
            probe = Probe("python", "python", self._settings.limits.python)
            return (await run_probe(probe, self._kernel.python, env, "/")).failure is None

    async def _try_extensions(self, facts: Facts) -> ProbeResult:
        """Imports what may not fit torch; nothing in an untouched environment."""
        if facts.flag("torch", "ok") is not True:
            return await _not_started("extensions", "torch was not imported")
        modules = tuple(item.module for item in candidates(facts))
        if not modules:
            return ProbeResult("extensions", value={"modules": []})
        limit = self._settings.limits.extensions
        probe = Probe("extensions", "extensions", limit, modules, rest=limit)
        async with self._turn:
            with temporary_files_apart(self._kernel.env) as apart:
                result = await run_probe(probe, self._kernel.python, apart, "/")
        return replace(result, value=await self._who_breaks_the_images(result, facts))

    async def _who_breaks_the_images(
        self, result: ProbeResult, facts: Facts
    ) -> Mapping[str, object]:
        """The facts, and which packages in front of the base keep a module of the image from being
        imported.
        """
        broken = broken_of_the_image(facts, result)
        if not broken:
            return result.value
        found: tuple[Suspect, ...] = ()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._settings.limits.culprit):
                found = await smallest(
                    replacing(facts),
                    lambda hidden: self._imports_without(broken[0], hidden),
                    likely=LIKELY,
                )
        return {**result.value, "culprits": [describe(suspect) for suspect in found]}

    async def _try_start(self, facts: Facts) -> ProbeResult:
        """Starts the kernel, where something of the user's takes part in that."""
        folders = folders_to_try(facts) if self._kernel.process is None else ()
        if not folders:
            return await _nothing("start")
        limit = self._settings.limits.start
        asked = json.dumps(question(facts, folders, limit))
        # the folders, and two more tries
        most = (len(folders) + 2) * limit + 5
        probe = Probe("start", "start", most, (asked,), rest=most)
        async with self._turn:
            return await run_probe(probe, [sys.executable, "-I"], self._kernel.env, "/")

    # -- what is to blame

    async def _find_culprit(self, name: str, facts: Facts) -> ProbeResult:
        """Imports again without the suspects: what helps is the culprit. First packages, then the
        kernel's variables.
        """
        started = time.monotonic()
        found: tuple[Suspect, ...] = ()
        variables: tuple[str, ...] = ()
        failure = facts.failure(name)
        failed = facts.flag(name, "ok") is False or (
            failure is not None and failure.kind != "not-started"
        )
        candidates = suspects(facts, name) if failed else ()
        if failed:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._settings.limits.culprit):
                    found = await self._narrow_down(name, candidates)
                    if not found and not is_absent(facts, name):
                        variables = await smallest(
                            blamable(self._kernel.env),
                            lambda names: self._imports_unset(name, names),
                            likely=LIKELY // 2,
                        )
        value = {
            "tried": [describe(suspect) for suspect in candidates[:LIKELY]],
            "culprits": [describe(suspect) for suspect in found],
            "variables": list(variables),
        }
        return ProbeResult(f"{name}_culprit", time.monotonic() - started, value)

    async def _narrow_down(self, name: str, candidates: tuple[Suspect, ...]) -> tuple[Suspect, ...]:
        """A smallest set without which the import works; () if it is none of them."""
        for suspect in candidates[:LIKELY]:
            if await self._imports_without(name, (suspect,)):
                return (suspect,)
        if len(candidates) < 2:
            return ()
        return await smallest(candidates, lambda hidden: self._imports_without(name, hidden))

    async def _imports_without(self, name: str, hidden: tuple[Suspect, ...]) -> bool:
        modules = ",".join(sorted({module for suspect in hidden for module in suspect.modules}))
        directories = sorted({suspect.directory for suspect in hidden})
        arguments = ("--without", modules, "--over", *directories)
        return await self._imports(_IMPORTED.get(name, name), arguments, self._kernel.env)

    async def _imports_unset(self, name: str, names: tuple[str, ...]) -> bool:
        env = {key: value for key, value in self._kernel.env.items() if key not in names}
        return await self._imports(_IMPORTED[name], (), env)

    async def _imports(
        self, module: str, arguments: tuple[str, ...], env: Mapping[str, str]
    ) -> bool:
        limit = min(self._settings.limits.torch, self._settings.limits.culprit / 2)
        # what uses the GPU comes after a first answer, and is not waited for
        probe = Probe(module, "imports", limit, (module, "--only", *arguments))
        async with self._turn:
            with temporary_files_apart(env) as apart:
                result = await run_probe(probe, self._kernel.python, apart, "/")
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


def _asks_the_network(env: Mapping[str, str]) -> bool:
    """Whether there is a hub to ask, or a variable to look at; else the probe has nothing to do."""
    return any(name == "JUPYTERHUB_API_URL" or name.upper().endswith("_PROXY") for name in env)


async def _nothing(name: str) -> ProbeResult:
    return ProbeResult(name, value={"asked": False})


async def _not_started(name: str, why: str) -> ProbeResult:
    return ProbeResult(name, failure=Failure("not-started", why))
