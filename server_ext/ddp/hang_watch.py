"""Watches a run for a hang: samples, looks at the stacks when nothing happens, keeps the verdict.

Guarantees:
- A run that prints costs one read of /proc every `sample` seconds. Stacks are read only after
  `quiet` seconds of silence: once where all ranks rest, else LOOKS times at most, and as long as
  a rank is at work less and less often, up to `longest_wait`.
- `hang` is taken back as soon as something is printed, or a rank that rested works again.
- Nothing that goes wrong here ends the run or its watcher; cancelled, it leaves no process.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from . import hang, stacks
from .activity import Rest, Snapshot, snapshot
from .gpu_watch import Gpu
from .hang import Hang, Look, RankSeen
from .launch_plan import RANKS
from .places import place_of
from .runs import LOG, RUNNING, Run, RunStore
from .stacks import Stacks

AT_ONCE = 2  # py-spy processes: the ranks need the cores
GPU_AT_WORK = 5  # percent


@dataclass(frozen=True)
class Pace:
    """Seconds. sample: between two reads of /proc. quiet: without output and work before it is
    looked at: imports of torch and first batches take up to half a minute on a busy machine, and
    people begin to wonder after one. between: two looks of one round; not a whole multiple of a
    second, which a script's own loop may be. longest_wait: between rounds that found nothing.
    """

    sample: float = 5.0
    quiet: float = 60.0
    between: float = 5.3
    longest_wait: float = 480.0


class HangWatch:
    """One run's. `hang` is what is known now, None while the run goes on."""

    def __init__(
        self,
        store: RunStore,
        run: Callable[[], Run],
        environ: Mapping[str, str],
        gpus: Callable[[], Sequence[Gpu]],
        log: logging.Logger,
        pace: Pace | None = None,
    ) -> None:
        """run: tells the run's record as it is now; gpus: what NVML said last, in its order."""
        self.hang: Hang | None = None
        self._run = run
        self._store = store
        self._environ = environ
        self._gpus = gpus
        self._gpu_worked: dict[int, float] = {}
        self._log = log
        self._pace = pace or Pace()
        self._rest = Rest(self._pace.quiet)
        self._wait = self._pace.quiet
        self._next_round = self._last_round = float("-inf")
        self._resting: frozenset[int] = frozenset()
        self._since = 0.0
        self._program = stacks.find_py_spy()

    async def watch(self) -> None:
        """Until it is cancelled."""
        while True:
            await asyncio.sleep(self._pace.sample)
            try:
                await self._step()
            except Exception:  # a look that fails must not end the watch, nor the run
                self._log.exception("Run %s cannot be watched for a hang", self._run().id)
                await asyncio.sleep(self._pace.longest_wait)

    async def _step(self) -> None:
        if self._run().state != RUNNING:
            return
        await self._sample()
        if self.hang is not None and self._goes_on():
            self.hang = None
            self._wait = self._pace.quiet
        if self._rest.silent and self._is_due():
            await self._round()

    async def _sample(self) -> Snapshot:
        run = self._run()
        now = await asyncio.to_thread(
            snapshot,
            time.monotonic(),
            run.members,
            run.agent,
            str(self._store.path(run.id, LOG)),
            str(self._store.path(run.id, RANKS)),
        )
        self._rest.add(now)
        self._note_gpus(now.at)
        return now

    def _is_due(self) -> bool:
        """Who rests loses nothing by being looked at; who works is left alone longer and longer."""
        now = time.monotonic()
        rested_since = now - self._last_round >= self._pace.quiet and self._rest.all_rest
        return rested_since or now >= self._next_round

    def _goes_on(self) -> bool:
        rest = self._rest
        return not rest.silent or any(
            rest.last_work.get(rank, self._since) > self._since for rank in self._resting
        )

    async def _round(self) -> None:
        """Look once where all rest, else several times: who is busy may be busy waiting."""
        looks: list[Look] = []
        found = None
        for index in range(hang.LOOKS):
            if index:
                await asyncio.sleep(self._pace.between)
                await self._sample()
                if not self._rest.silent:
                    break
            looks.append(await self._look())
            found = hang.verdict(looks)
            if found is not None or self._rest.all_rest:
                break
        now = time.monotonic()
        self._last_round, self._next_round = now, now + self._wait
        self._wait = min(self._wait * 2, self._pace.longest_wait)
        if not self._rest.silent:
            return
        if found is None:
            self.hang = None
        elif not found.same_as(self.hang):
            self._since = now
            self._resting = frozenset(
                rank for rank in self._rest.last_work if not self._rest.at_work(rank)
            )
            self.hang = replace(found, since=time.time() - (now - self._quiet_since()))

    def _quiet_since(self) -> float:
        """Monotonic: the last output, or the last work of those that rest now."""
        rest = self._rest
        worked = [at for rank, at in rest.last_work.items() if not rest.at_work(rank)]
        return max([rest.last_output, *worked])

    async def _look(self) -> Look:
        now = self._rest.latest
        if now is None:
            return Look(())
        room = asyncio.Semaphore(AT_ONCE)

        async def dump(pid: int) -> Stacks:
            async with room:
                return await stacks.dump(pid, self._program)

        order = sorted(now.ranks)[: hang.MOST_RANKS]
        async with asyncio.TaskGroup() as group:
            asked = [group.create_task(dump(now.ranks[rank].identity.pid)) for rank in order]
        dumps = {rank: task.result() for rank, task in zip(order, asked, strict=True)}
        seen = []
        for rank in range(min(self._run().processes, hang.MOST_RANKS)):
            if rank not in dumps:
                seen.append(RankSeen(rank, None))
                continue
            one, read = now.ranks[rank], dumps[rank]
            main = next((thread for thread in read.threads if thread.main), None)
            frames = () if main is None else main.frames
            seen.append(
                RankSeen(
                    rank,
                    place_of(read.threads, one.state, one.channel),
                    self._rest.at_work(rank),
                    self._gpu_at_work(rank),
                    tuple(f"{f.name} ({f.module}:{f.line})" for f in frames[: hang.MOST_FRAMES]),
                )
            )
        problems = [read.problem for read in dumps.values() if read.problem]
        return Look(
            tuple(seen),
            self._rest.network,
            self._rest.exchange,
            problems[0] if len(problems) == len(dumps) and problems else "",
        )

    def _note_gpus(self, now: float) -> None:
        """A rank's GPU is the one of its number, as LOCAL_RANK says."""
        environ = self._environ
        simulated = environ.get("GPUCAMP_SIMULATED") == "1"
        shared = environ.get("GPUCAMP_SHARED") == "1"  # then a neighbour's work would be seen
        if simulated or shared or "CUDA_VISIBLE_DEVICES" in self._run().environment:
            return
        for rank, gpu in enumerate(self._gpus()):
            if (gpu.device.utilization_percent or 0) >= GPU_AT_WORK:
                self._gpu_worked[rank] = now

    def _gpu_at_work(self, rank: int) -> bool:
        worked = self._gpu_worked.get(rank)
        return worked is not None and time.monotonic() - worked < self._pace.quiet


def pace_of(environ: Mapping[str, str] = os.environ) -> Pace:
    """The pace of a server: GPUCAMP_DDP_QUIET seconds (10 or more) in its environment, else 60."""
    try:
        quiet = float(environ.get("GPUCAMP_DDP_QUIET", ""))
    except ValueError:
        return Pace()
    return Pace(quiet=min(max(quiet, 10.0), 3600.0)) if quiet == quiet else Pace()
