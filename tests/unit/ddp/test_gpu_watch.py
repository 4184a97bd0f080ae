"""GPUs while a run goes on, from the practice NVML: devices, processes, silence, and the end."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from server_ext.ddp import gpu_watch
from server_ext.ddp.gpu_watch import GpuWatch, read_gpus

pytestmark = pytest.mark.timeout(60)

UUID = "GPU-5ca1ab1e-0000-4000-8000-00000000000"
PRACTICE = Path(__file__).parents[3] / "images" / "practice"


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    build = tmp_path_factory.mktemp("practice")
    made = subprocess.run(
        ["make", "-C", str(PRACTICE), f"BUILD={build}"], capture_output=True, text=True, timeout=100
    )
    assert made.returncode == 0, (
        f"apt-get install gcc make libcjson-dev\n{made.stdout}{made.stderr}"
    )
    return build / "lib"


@pytest.fixture
def devices(library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """devices({...}, {...}): what NVML shows from now on."""
    path = tmp_path / "practice.json"
    monkeypatch.setenv("LD_LIBRARY_PATH", str(library))
    monkeypatch.setenv("GPUCAMP_PRACTICE_FILE", str(path))
    monkeypatch.delenv("GPUCAMP_DEVICES", raising=False)
    monkeypatch.setattr(gpu_watch, "EVERY_SECONDS", 0.05)

    def write(*shown: dict[str, Any], **fields: Any) -> None:
        new = path.with_suffix(".new")
        new.write_text(json.dumps({"devices": shown, **fields}))
        new.rename(path)

    return write


def probes() -> list[int]:
    """Pids of the watching processes that this one has."""
    found = []
    for name in os.listdir("/proc"):
        try:
            command = Path(f"/proc/{name}/cmdline").read_bytes()
            parent = Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()[1]
        except (OSError, IndexError):
            continue
        if b"run_probe.py\0nvml\0watch" in command and parent == str(os.getpid()):
            found.append(int(name))
    return found


async def until(condition: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + 20
    while not (found := condition()):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)
    return found


async def test_what_nvml_shows_as_it_changes(devices: Callable[..., None]) -> None:
    one = {"uuid": UUID + "0", "memory_total": 100, "memory_used": 30, "utilization": 40}
    devices({**one, "processes": [{"pid": 7, "memory": 20}]}, {"uuid": UUID + "1"})
    watch = GpuWatch()
    gpus = await until(watch.latest)
    assert [gpu.device.uuid for gpu in gpus] == [UUID + "0", UUID + "1"]
    assert (gpus[0].device.memory_used_bytes, gpus[0].device.utilization_percent) == (30, 40)
    assert gpus[0].processes == {7: 20}
    devices({**one, "utilization": 95})
    await until(lambda: [g.device.utilization_percent for g in watch.latest()] == [95])
    assert len(probes()) == 1
    await watch.close()
    assert probes() == []


async def test_only_leased_devices(
    devices: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    devices({"uuid": UUID + "0"}, {"uuid": UUID + "1"})
    monkeypatch.setenv("GPUCAMP_DEVICES", UUID + "1")
    watch = GpuWatch()
    assert [gpu.device.uuid for gpu in await until(watch.latest)] == [UUID + "1"]
    await watch.close()


async def test_instances_of_mig_count_as_devices(devices: Callable[..., None]) -> None:
    instance = {"uuid": "MIG-5ca1ab1e-0000-4000-8000-000000000001", "memory_total": 50}
    devices({"uuid": UUID + "0", "memory_total": 100, "mig_devices": [instance]})
    watch = GpuWatch()
    (gpu,) = await until(watch.latest)
    assert (gpu.device.uuid, gpu.device.memory_bytes) == (instance["uuid"], 50)
    assert gpu.device.utilization_percent is None
    await watch.close()


@pytest.mark.parametrize(
    "call", ["nvmlDeviceGetComputeRunningProcesses", "nvmlDeviceGetUtilizationRates"]
)
async def test_what_nvml_does_not_tell_is_unknown(devices: Callable[..., None], call: str) -> None:
    devices({"uuid": UUID + "0", "memory_used": 5, "faults": {call: 3}})
    watch = GpuWatch()
    (gpu,) = await until(watch.latest)
    assert gpu.device.memory_used_bytes == 5
    unknown = gpu.processes if "Processes" in call else gpu.device.utilization_percent
    assert unknown is None
    await watch.close()


async def test_a_driver_that_hangs_holds_up_nobody(
    devices: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu_watch, "SILENCE_SECONDS", 0.5)
    devices({"uuid": UUID + "0"}, faults={"nvmlInit": {"sleep": 60}})
    watch = GpuWatch()
    assert watch.latest() == ()
    await until(probes)
    await until(lambda: not probes())
    for _ in range(20):
        assert watch.latest() == ()
        await asyncio.sleep(0.01)
    assert probes() == []  # it is not started again and again
    await watch.close()


async def test_without_a_gpu_it_is_asked_once(
    devices: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    devices(faults={"nvmlInit": 12})
    watch = GpuWatch()
    watch.latest()
    await until(lambda: watch._task is not None and watch._task.done())
    task = watch._task
    assert watch.latest() == () and watch._task is task
    await watch.close()


async def test_it_ends_when_nobody_asks_and_begins_again(
    devices: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu_watch, "UNASKED_SECONDS", 0.3)
    devices({"uuid": UUID + "0"})
    watch = GpuWatch()
    watch.latest()
    await until(lambda: watch._task is not None and watch._task.done())
    assert probes() == []
    await until(watch.latest)
    await watch.close()


@pytest.mark.parametrize(
    "facts",
    [
        {},
        {"devices": None},
        {"devices": [None, 1, {}, {"uuid": None}, {"uuid": {"error": {}}}, {"uuid": ""}]},
    ],
)
def test_other_answers_are_no_device(facts: dict[str, Any]) -> None:
    assert read_gpus(facts) == ()


def test_parts_that_make_no_sense_are_unknown() -> None:
    odd = {
        "uuid": "GPU-a",
        "name": 3,
        "memory": [1],
        "utilization": True,
        "processes": [[1], [2, 3]],
    }
    (gpu,) = read_gpus({"devices": [odd]})
    assert (gpu.device.name, gpu.device.memory_bytes, gpu.processes) == (None, None, {2: 3})
    assert gpu.device.utilization_percent is None
