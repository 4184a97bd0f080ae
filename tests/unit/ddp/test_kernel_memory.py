"""What kernels hold: whose word counts, what is much, and that nothing unknown becomes 0."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server_ext.ddp import kernel_memory
from server_ext.ddp.kernel_memory import KernelMemory, gpu_bytes, in_order, is_much, memory_of
from server_ext.doctor.facts import Failure, ProbeResult
from server_ext.doctor.running_kernels import RunningKernels

GIB = 2**30


def kernel(memory: int | None = 0, gpu: int | None = 0, uses: bool | None = None) -> KernelMemory:
    uses_gpu = gpu != 0 if uses is None else uses
    return KernelMemory("k", "python3", "a.ipynb", "idle", memory, gpu, uses_gpu)


@pytest.mark.parametrize(
    ("kernels", "limit", "gpus", "much"),
    [
        ([], None, True, False),
        ([kernel(memory=GIB // 4)], None, True, False),
        ([kernel(memory=GIB)], None, True, True),
        ([kernel(memory=GIB // 2), kernel(memory=GIB // 2)], None, False, True),
        ([kernel(memory=GIB // 2)], 2 * GIB, False, True),  # of a small container it is much
        ([kernel(gpu=GIB)], None, True, True),
        ([kernel(gpu=GIB)], None, False, False),  # a run on the CPU does not miss it
        ([kernel(gpu=None)], None, True, True),
        ([kernel(gpu=2**20)], None, True, False),
        ([kernel(memory=None)], 1, True, False),
    ],
)
def test_what_is_much(
    kernels: list[KernelMemory], limit: int | None, gpus: bool, much: bool
) -> None:
    assert is_much(kernels, limit, gpus=gpus) is much


SIZES = st.one_of(st.none(), st.integers(0, 2**40))


@given(st.lists(st.builds(kernel, SIZES, SIZES), max_size=6), SIZES, st.booleans())
def test_another_kernel_never_makes_it_less(
    kernels: list[KernelMemory], limit: int | None, gpus: bool
) -> None:
    if is_much(kernels[1:], limit, gpus=gpus):
        assert is_much(kernels, limit, gpus=gpus)
    assert sorted(map(repr, in_order(kernels))) == sorted(map(repr, kernels))


def host(*holders: dict[str, Any]) -> ProbeResult:
    return ProbeResult("host", value={"asked": True, "devices": [{"holders": list(holders)}]})


NOTHING = ProbeResult("host", value={"asked": False})
FAILED = ProbeResult("host", failure=Failure("timeout", "no answer"))
ROW = {"gpu": True, "members": [7, 8], "gpu_bytes": 100}


@pytest.mark.parametrize(
    ("row", "seen", "held"),
    [
        ({"gpu": False, "members": [7], "gpu_bytes": None}, NOTHING, 0),
        (ROW, NOTHING, 100),
        (ROW, FAILED, 100),
        ({**ROW, "gpu_bytes": None}, FAILED, None),  # busy, and nobody tells
        (ROW, host({"holder": "own", "pid": 8, "memory_bytes": 300}), 300),
        (
            ROW,
            host(
                {"holder": "own", "pid": 7, "memory_bytes": 300},
                {"holder": "own", "pid": 8, "memory_bytes": 5},
                {"holder": "own", "pid": 9, "memory_bytes": 1000},
            ),
            305,
        ),
        (ROW, host({"holder": "other", "pid": 7, "memory_bytes": 300}), 100),
        (ROW, ProbeResult("host", value={"devices": "x"}), 100),
    ],
)
def test_whose_word_counts(row: dict[str, Any], seen: ProbeResult, held: int | None) -> None:
    assert gpu_bytes(row, seen) == held


def test_children_count_and_who_has_gone_does_not() -> None:
    code = "x = bytearray(50 * 2**20); x[::4096] = b'1' * len(x[::4096]); print(1); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        mine, both = memory_of([os.getpid()]), memory_of([os.getpid(), child.pid])
        child.communicate(b"\n")
    assert mine and both and both - mine > 45 * 2**20
    assert memory_of([child.pid]) is None


class _Kernels(RunningKernels):
    def __init__(self, answer: ProbeResult | None) -> None:
        self._answer = answer

    async def table(self, environ: Mapping[str, str]) -> ProbeResult:
        if self._answer is None:
            await asyncio.sleep(60)
        assert self._answer is not None
        return self._answer


async def test_kernels_that_cannot_be_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_memory, "SECONDS", 0.05)
    failed = ProbeResult("kernels", failure=Failure("crashed", "ended"))
    for answer in (None, failed):
        assert await kernel_memory.read_kernels(_Kernels(answer), {}) is None


async def test_a_table_becomes_kernels() -> None:
    rows = [
        {"id": "a", "name": "python3", "label": "a.ipynb", "state": "busy", "members": [1 << 22]},
        {"id": "b", "name": "python3", "label": "", "state": "idle", "members": [os.getpid()]},
        {"id": "c", "gpu": True, "members": "x", "gpu_bytes": GIB, "devices": []},
    ]
    table = ProbeResult("kernels", value={"asked": True, "kernels": rows})
    found = await kernel_memory.read_kernels(_Kernels(table), {})
    assert found is not None
    assert [(one.id, one.gpu_bytes) for one in found] == [("c", GIB), ("b", 0), ("a", 0)]
    assert found[0].memory_bytes is None and found[2].memory_bytes is None
    assert (found[1].memory_bytes or 0) > 2**20
