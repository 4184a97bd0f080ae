"""Which rank holds how much GPU memory, by the host's word."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from server_ext.ddp import gpu_watch, host_memory
from server_ext.ddp.gpu_watch import Gpu, GpuWatch
from server_ext.ddp.host_memory import HostMemory, holders_of
from server_ext.ddp.usage import Device
from server_ext.doctor.facts import Failure, ProbeResult


def host(*devices: dict[str, Any]) -> ProbeResult:
    return ProbeResult("host", value={"asked": True, "devices": list(devices)})


ONE = {
    "uuid": "GPU-a",
    "holders": [
        {"holder": "own", "pid": 70, "processes": 1, "memory_bytes": 5 << 30},
        {"holder": "own", "pid": 71, "processes": 1, "memory_bytes": None},
        {"holder": "another server", "pid": None, "processes": 2, "memory_bytes": 1 << 30},
    ],
}


def test_only_what_is_ours_counts_and_what_is_not_known_is_left_out() -> None:
    found = holders_of(host(ONE, {"uuid": "GPU-b", "holders": None}, {"uuid": "GPU-c"}))
    assert found == {"GPU-a": {70: 5 << 30, 71: None}}
    for odd in ([None], ["x"], [{"pid": "70", "holder": "own"}], [{"holder": "own"}]):
        assert holders_of(host({"uuid": "GPU-a", "holders": odd})) == {"GPU-a": {}}
    assert holders_of(ProbeResult("host", failure=Failure("timeout", ""))) == {}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[ProbeResult]:
    """The answers that the service gives, the last of them again and again."""
    answers: list[ProbeResult] = []

    async def ask(_environ: object) -> ProbeResult:
        return answers.pop(0) if len(answers) > 1 else answers[0]

    monkeypatch.setattr(host_memory.host_view, "ask", ask)
    return answers


async def test_it_is_known_after_the_first_answer_and_not_for_ever(
    asked: list[ProbeResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked.append(host(ONE))
    memory = HostMemory({})
    assert memory.latest() == {}, "nobody waits for the service"
    await asyncio.sleep(0.05)
    assert memory.latest() == {"GPU-a": {70: 5 << 30, 71: None}}
    monkeypatch.setattr(host_memory, "FRESH_SECONDS", 0)
    assert memory.latest() == {}
    await memory.close()


@pytest.mark.parametrize(
    "answer",
    [
        ProbeResult("host", value={"asked": False}),
        ProbeResult("host", failure=Failure("timeout", "the service gave no answer")),
    ],
)
async def test_a_service_that_is_not_there_is_left_alone_for_a_while(
    asked: list[ProbeResult], answer: ProbeResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked += [answer, host(ONE)]
    monkeypatch.setattr(host_memory, "EVERY_SECONDS", 0)
    memory = HostMemory({})
    for _ in range(20):
        assert memory.latest() == {}
        await asyncio.sleep(0.005)
    assert len(asked) == 1, "it was asked once"
    await memory.close()


async def test_the_host_is_believed_before_nvml_in_the_container(
    asked: list[ProbeResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked.append(host(ONE))

    async def silent(_self: GpuWatch) -> None:
        await asyncio.sleep(60)

    monkeypatch.setattr(GpuWatch, "_watch", silent)
    watch = GpuWatch(environ={})
    assert watch.latest() == ()
    devices = [Device(uuid, None, None, None, None) for uuid in ("GPU-a", "GPU-b")]
    watch._gpus = tuple(Gpu(device, {1: 2}) for device in devices)
    watch._told = gpu_watch.time.monotonic()
    assert [gpu.processes for gpu in watch.latest()] == [{1: 2}, {1: 2}]
    await asyncio.sleep(0.05)
    assert [gpu.processes for gpu in watch.latest()] == [{70: 5 << 30, 71: None}, {1: 2}]
    await watch.close()
