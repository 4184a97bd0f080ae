"""Memory that the user's kernels hold, which a run would have to do without.

Guarantees: an answer within SECONDS whatever a kernel or the driver does: what is not known by then
is None, never 0; a busy kernel is asked nothing. The GPU's memory is the host's word where the
gpucamp service gives it (a container does not see it by process), else the kernel's own.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ..doctor import host_view
from ..doctor.facts import Facts, ProbeResult, integer_of, text_of
from ..doctor.probes import resources
from ..doctor.running_kernels import RunningKernels

SECONDS = 4.0
HOST_SECONDS = 1.0

# A kernel that has imported torch holds about half of this; less is not worth an interruption.
MUCH_MEMORY = 2**30
MUCH_OF_LIMIT = 0.2
MUCH_GPU = 256 * 2**20


@dataclass(frozen=True)
class KernelMemory:
    """A kernel. label: its notebook's path, or ""; name: of its spec; state: Jupyter's word.

    memory_bytes: of the machine, with its children; gpu_bytes: None where it uses a GPU and nobody
    tells how much.
    """

    id: str
    name: str
    label: str
    state: str
    memory_bytes: int | None
    gpu_bytes: int | None
    uses_gpu: bool

    def view(self) -> dict[str, Any]:
        """As the REST interface shows it."""
        return asdict(self)


async def read_kernels(
    kernels: RunningKernels, environ: Mapping[str, str]
) -> list[KernelMemory] | None:
    """The running kernels, those that hold most first; None where they cannot be looked at."""
    try:
        async with asyncio.timeout(SECONDS):
            table, host = await asyncio.gather(
                kernels.table(environ), host_view.ask(environ, HOST_SECONDS)
            )
            if table.failure is not None:
                return None
            rows = Facts({"kernels": table}).objects("kernels", "kernels")
            members = {text_of(row, "id"): _pids(row) for row in rows}
            memory = await asyncio.to_thread(_memory, members)
    except TimeoutError:
        return None
    return in_order(
        KernelMemory(
            id=text_of(row, "id"),
            name=text_of(row, "name"),
            label=text_of(row, "label"),
            state=text_of(row, "state"),
            memory_bytes=memory.get(text_of(row, "id")),
            gpu_bytes=gpu_bytes(row, host),
            uses_gpu=row.get("gpu") is True,
        )
        for row in rows
    )


def in_order(kernels: Iterable[KernelMemory]) -> list[KernelMemory]:
    """Those that hold most first: of the GPU, then of the machine. Pure."""
    return sorted(
        kernels,
        key=lambda one: (
            -(one.gpu_bytes if one.gpu_bytes is not None else MUCH_GPU),
            -(one.memory_bytes or 0),
            one.id,
        ),
    )


def is_much(kernels: Iterable[KernelMemory], limit: int | None, *, gpus: bool) -> bool:
    """Whether a run should be told of them. limit: bytes of the container; gpus: whether the run
    has some that CUDA can use. Pure.
    """
    every = list(kernels)
    if gpus:
        unknown = any(one.uses_gpu and one.gpu_bytes is None for one in every)
        if unknown or sum(one.gpu_bytes or 0 for one in every) >= MUCH_GPU:
            return True
    least = MUCH_MEMORY if limit is None else min(MUCH_MEMORY, limit * MUCH_OF_LIMIT)
    return sum(one.memory_bytes or 0 for one in every) >= least


def gpu_bytes(row: Mapping[str, object], host: ProbeResult) -> int | None:
    """Bytes of GPU memory of a kernel and what it started: 0 where it uses no GPU. Pure."""
    if row.get("gpu") is not True:
        return 0
    seen = []
    for device in Facts({"host": host}).objects("host", "devices"):
        holders = device.get("holders")
        for holder in holders if isinstance(holders, list) else ():
            if isinstance(holder, Mapping) and text_of(holder, "holder") == "own":
                if holder.get("pid") in _pids(row):
                    seen.append(integer_of(holder, "memory_bytes") or 0)
    return sum(seen) if seen else integer_of(row, "gpu_bytes")


def memory_limit() -> int | None:
    """Bytes that the container may use; None where it has no limit. Blocking."""
    return resources.memory()["limit_bytes"]


def _pids(row: Mapping[str, object]) -> list[int]:
    members = row.get("members")
    return [pid for pid in members if type(pid) is int] if isinstance(members, list) else []


def _memory(members: Mapping[str, list[int]]) -> dict[str, int | None]:
    return {kernel: memory_of(pids) for kernel, pids in members.items()}


def memory_of(pids: list[int]) -> int | None:
    """Bytes that processes hold together; None where all have gone. Blocking.

    By statm, which does not wait for a process that is stuck in the driver: of the first all that
    is resident, of its children what they do not share with it by files or shared memory.
    """
    page = os.sysconf("SC_PAGE_SIZE")
    found: list[int] = []
    for pid in pids:
        try:
            with open(f"/proc/{pid}/statm") as stream:
                _, resident, shared, *_ = map(int, stream.read(200).split())
        except (OSError, ValueError):
            continue
        found.append((resident - (shared if found else 0)) * page)
    return sum(found) if found else None
