"""Do the container's limits leave programs what they need? Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator

from ...i18n import N_
from ..facts import Facts
from ..findings import CannotTell, Code, Finding, check
from . import reading

TOO_MANY_THREADS = Code(
    "GC421",
    "torch",
    "degraded",
    "you",
    N_("torch uses {threads} threads, but this server may use only {cpus} CPUs: they wait."),
    N_("Set OMP_NUM_THREADS={whole}, and use at most {whole} DataLoader workers."),
    "export OMP_NUM_THREADS={whole}",
)
FEW_PROCESSES = Code(
    "GC422",
    "resources",
    "degraded",
    "you",
    N_("Hardly any process can be started: {used} of {limit} processes and threads are there."),
    N_("Shut down kernels and end runs; the instructor can raise the limit of processes."),
)
LOCKED_MEMORY = Code(
    "GC426",
    "resources",
    "degraded",
    "instructor",
    N_("InfiniBand is here, but programs may lock only {size} of memory: NCCL fails (ibv_reg_mr)."),
    N_("NCCL_IB_DISABLE=1 goes without it; the instructor can set the memlock limit to -1."),
    "export NCCL_IB_DISABLE=1",
)
LIMITED = Code(
    "GC427",
    "resources",
    "degraded",
    "you",
    N_("A limit of the shell or the container keeps programs small: {limits}."),
    N_(
        "Take the ulimit out of the file that sets it, and restart; torch needs much address space."
    ),
)

# below these, torch with CUDA or a data loader fails in ways that name something else
_FEW = 128
_SHARE = 0.95
_LOCKED_BYTES = 64 * 2**20
_LEAST = {
    "as": ("address space (ulimit -v)", 64 * 2**30),
    "data": ("data segment (ulimit -d)", 16 * 2**30),
    "fsize": ("size of files (ulimit -f)", 2**30),
    "stack": ("stack (ulimit -s)", 2**20),
}
_LEAST_SECONDS = 3600


@check("torch", ("torch", "resources"), (TOO_MANY_THREADS,))
def threads_fit_the_cpus(facts: Facts) -> Iterator[Finding]:
    """torch does not start many more threads than the container's quota of CPUs lets run."""
    if not facts.mapping("torch", "torch"):
        raise CannotTell("torch", "torch was not imported")
    reading.require(facts, "resources", "cpu")
    threads = facts.integer("torch", "torch", "threads")
    quota = facts.number("resources", "cpu", "quota")
    if threads is None or quota is None or quota <= 0:
        return
    whole = max(1, math.floor(quota))
    if threads >= 2 * math.ceil(quota):
        params = {"threads": str(threads), "cpus": f"{quota:g}", "whole": str(whole)}
        yield Finding(TOO_MANY_THREADS, (f"quota {quota:g} CPUs, {threads} threads",), params)


@check("resources", ("resources",), (FEW_PROCESSES,))
def processes_can_be_started(facts: Facts) -> Iterator[Finding]:
    """There is room for more processes and threads."""
    reading.require(facts, "resources", "pids")
    used, limit = (
        facts.integer("resources", "pids", "used"),
        facts.integer("resources", "pids", "limit"),
    )
    shell = facts.integer("resources", "limits", "nproc")
    if used is not None and limit and (limit <= _FEW or used > limit * _SHARE):
        params = {"used": str(used), "limit": str(limit)}
        yield Finding(FEW_PROCESSES, (f"pids.current {used}, pids.max {limit}",), params)
    elif shell is not None and 0 <= shell <= _FEW:
        params = {"used": str(used) if used is not None else "?", "limit": str(shell)}
        yield Finding(FEW_PROCESSES, (f"RLIMIT_NPROC {shell}",), params)


@check("resources", ("resources", "environment"), (LOCKED_MEMORY,))
def memory_can_be_locked(facts: Facts) -> Iterator[Finding]:
    """Where there is InfiniBand, programs may lock the memory that it needs."""
    reading.require(facts, "resources", "limits")
    limit = facts.integer("resources", "limits", "memlock")
    adapters = facts.texts("resources", "infiniband")
    if (reading.variable(facts, "NCCL_IB_DISABLE") or "0").strip() not in ("", "0"):
        return  # NCCL does not use it
    if adapters and limit is not None and 0 <= limit < _LOCKED_BYTES:
        evidence = (f"RLIMIT_MEMLOCK {limit}", ", ".join(adapters[:8]))
        yield Finding(LOCKED_MEMORY, evidence, {"size": reading.gibibytes(limit)})


@check("resources", ("resources",), (LIMITED,))
def programs_may_be_large(facts: Facts) -> Iterator[Finding]:
    """No limit of memory, files or time that torch would run into."""
    reading.require(facts, "resources", "limits")
    found = []
    for name, (shown, least) in _LEAST.items():
        limit = facts.integer("resources", "limits", name)
        if limit is not None and 0 <= limit < least:
            found.append(f"{shown}: {reading.gibibytes(limit)}")
    seconds = facts.integer("resources", "limits", "cpu")
    if seconds is not None and 0 <= seconds < _LEAST_SECONDS:
        found.append(f"CPU time (ulimit -t): {seconds} s")
    if found:
        yield Finding(LIMITED, tuple(found), {"limits": ", ".join(found)})


CHECKS = (
    threads_fit_the_cpus,
    processes_can_be_started,
    memory_can_be_locked,
    programs_may_be_large,
)
