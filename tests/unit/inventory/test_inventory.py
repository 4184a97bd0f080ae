"""Which devices there are: by NVML, simulated, or an error; never fewer because of an error."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from hub_ext.errors import InventoryUnavailable
from hub_ext.inventory import discover, practice_devices, scan
from hub_ext.inventory.discovery import DetectedInventory, PracticeInventory
from hub_ext.inventory.nvml import NoDriver, NvmlInventory
from hub_ext.models import Device, DeviceDetail, Link


def test_devices_are_told_with_memory_and_versions(nvml, practice_file):
    file = practice_file(
        {"uuid": "GPU-b", "name": "NVIDIA A100", "memory_total": 2**36},
        {"uuid": "GPU-a", "name": "Simulated A100 (practice)"},
        driver_version="570.86.10",
        cuda_version=12080,
    )
    near = {
        "compute_processes": 0,
        "utilization_percent": 0,
        "detail": DeviceDetail((), 0, True, "default"),
    }
    assert nvml(file).scan() == (
        Device(
            *("GPU-b", "NVIDIA A100", 2**36, False, "570.86.10", "12.8"),
            links=(("GPU-a", Link.SAME_NODE),),
            **near,
        ),
        Device(
            *("GPU-a", "Simulated A100 (practice)", 40 * 2**30, True, "570.86.10", "12.8"),
            links=(("GPU-b", Link.SAME_NODE),),
            **near,
        ),
    )


def test_mig_instances_are_devices_and_their_card_is_none(nvml, practice_file):
    file = practice_file(
        {
            "uuid": "GPU-a",
            "mig_devices": [
                {"uuid": "MIG-1", "name": "A100 MIG 1g.5gb", "memory_total": 5 * 2**30},
                {"uuid": "MIG-2"},
            ],
        },
        {"uuid": "GPU-b"},
    )
    found = nvml(file).scan()
    assert [device.uuid for device in found] == ["MIG-1", "MIG-2", "GPU-b"]
    assert (found[0].name, found[0].memory_bytes) == ("A100 MIG 1g.5gb", 5 * 2**30)


@pytest.mark.parametrize(
    ("illness", "reason"),
    [
        ({"recovery_action": 1}, "reset of the GPU"),
        ({"recovery_action": 9}, "recovery action 9"),
        ({"remapped_rows": {"pending": 1}}, "wait to be remapped"),
        ({"remapped_rows": {"failure": 1, "pending": 1}}, "replaced"),
        ({"retired_pages_pending": 1}, "retired"),
        ({"compute_mode": 2}, "Prohibited"),
        ({"faults": {"nvmlDeviceGetMemoryInfo": 15}}, "GPU is lost"),
        ({"faults": {"nvmlDeviceGetName": 999}}, "Unknown Error"),
        ({"faults": {"nvmlDeviceGetRemappedRows": 16}}, "requires"),
    ],
)
def test_an_ill_device_is_told_with_the_reason(nvml, practice_file, illness, reason):
    well, ill = nvml(practice_file({"uuid": "GPU-a"}, {"uuid": "GPU-b"} | illness)).scan()
    assert well.healthy
    assert (ill.uuid, ill.healthy) == ("GPU-b", False)
    assert reason in ill.reason


@pytest.mark.parametrize(
    "call", ["nvmlDeviceGetRemappedRows", "nvmlDeviceGetFieldValues", "nvmlDeviceGetMigMode"]
)
@pytest.mark.parametrize("code", [3, 4, 13])
def test_what_a_card_does_not_know_is_no_illness(nvml, practice_file, call, code):
    (device,) = nvml(practice_file({"uuid": "GPU-a", "faults": {call: code}})).scan()
    assert device.healthy


def test_a_device_that_cannot_be_opened_is_left_out_and_logged_once(nvml, practice_file, caplog):
    file = practice_file(
        {"uuid": "GPU-a"}, {"uuid": "GPU-b", "faults": {"nvmlDeviceGetHandleByIndex": 15}}
    )
    inventory = nvml(file)
    assert [device.uuid for device in inventory.scan()] == ["GPU-a"]
    assert [device.uuid for device in inventory.scan()] == ["GPU-a"]
    assert [record.message for record in caplog.records] == [
        "NVML cannot read GPU 1: GPU is lost. Look at dmesg; the host may need a reboot."
    ]


@pytest.mark.parametrize(
    ("code", "kind", "remedy"),
    [
        (9, NoDriver, "modprobe"),
        (12, NoDriver, "Install the NVIDIA driver"),
        (18, InventoryUnavailable, "reboot"),
        (999, InventoryUnavailable, "dmesg"),
        (4, InventoryUnavailable, "dmesg"),
    ],
)
def test_nvml_that_cannot_be_used_is_an_error_with_a_remedy(
    nvml, practice_file, code, kind, remedy
):
    inventory = nvml(practice_file({"uuid": "GPU-a"}, faults={"nvmlInit": code}))
    with pytest.raises(InventoryUnavailable, match=remedy) as caught:
        inventory.scan()
    assert type(caught.value) is kind
    assert f"({code})" in str(caught.value)


def test_a_count_that_fails_is_an_error(nvml, practice_file):
    with pytest.raises(InventoryUnavailable):
        nvml(practice_file({"uuid": "GPU-a"}, faults={"nvmlDeviceGetCount": 999})).scan()


def test_a_host_without_the_library_has_no_driver(monkeypatch):
    monkeypatch.setenv("LD_LIBRARY_PATH", "/nowhere")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[3]))
    probe = "import pynvml, sys; pynvml.nvmlInit = lambda: (_ for _ in ()).throw(pynvml.NVMLError_LibraryNotFound()); sys.argv = ['x']; from hub_ext.inventory.nvml_probe import main; main()"  # noqa: E501
    with pytest.raises(NoDriver):
        NvmlInventory(timeout=30, probe=[sys.executable, "-c", probe]).scan()


def test_a_driver_that_hangs_does_not_hang_the_scan(nvml, practice_file):
    inventory = nvml(
        practice_file({"uuid": "GPU-a"}, faults={"nvmlDeviceGetCount": {"sleep": 60}}), timeout=1.0
    )
    begin = time.monotonic()
    with pytest.raises(InventoryUnavailable, match="hangs"):
        inventory.scan()
    assert time.monotonic() - begin < 10
    practice_file({"uuid": "GPU-a"})
    inventory._timeout = 30
    assert len(inventory.scan()) == 1, "it recovers when the driver does"


def test_a_probe_that_cannot_be_killed_is_not_joined_by_another(monkeypatch):
    started = []

    class Unkillable:
        """A process stuck in the kernel."""

        gone = False

        def __init__(self, *arguments: object, **options: object) -> None:
            started.append(self)

        def communicate(self, timeout: float) -> tuple[bytes, bytes]:
            raise subprocess.TimeoutExpired("probe", timeout)

        def kill(self) -> None:
            pass

        def poll(self) -> int | None:
            return -9 if self.gone else None

    monkeypatch.setattr(subprocess, "Popen", Unkillable)
    inventory = NvmlInventory(timeout=0.01)
    for _ in range(3):
        with pytest.raises(InventoryUnavailable, match="hangs"):
            inventory.scan()
    assert len(started) == 1
    started[0].gone = True
    with pytest.raises(InventoryUnavailable, match="hangs"):
        inventory.scan()
    assert len(started) == 2


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("raise SystemExit('the binding is broken')", "status 1: the binding is broken"),
        ("print('{')", "status 0: no output"),
        ("print('[]')", "status 0"),
        ("print('{}')", "status 0"),
        ("import os; os.kill(os.getpid(), 11)", "status -11"),
    ],
)
def test_a_probe_that_fails_is_an_error(program, words):
    with pytest.raises(InventoryUnavailable, match=words):
        NvmlInventory(timeout=30, probe=[sys.executable, "-c", program]).scan()


def test_a_probe_that_cannot_be_started_is_an_error():
    with pytest.raises(InventoryUnavailable, match="could not be asked"):
        NvmlInventory(probe=["/nowhere/python"]).scan()


def test_scans_of_many_threads_run_one_at_a_time(tmp_path):
    running = tmp_path / "running"
    program = f"""
import pathlib, time, json
mark = pathlib.Path({str(running)!r})
mark.touch(exist_ok=False)
time.sleep(0.05)
mark.unlink()
print(json.dumps({{"cards": [], "known": "", "links": None}}))
"""
    inventory = NvmlInventory(timeout=30, probe=[sys.executable, "-c", program])
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(lambda _: inventory.scan(), range(4))) == [()] * 4


# -- practice


def test_practice_devices_have_the_same_names_at_every_start():
    devices = practice_devices(2)
    assert [device.uuid for device in devices] == [
        "GPU-5ca1ab1e-0000-4000-8000-000000000000",
        "GPU-5ca1ab1e-0000-4000-8000-000000000001",
    ]
    assert all(device.simulated and "imulated" in device.name for device in devices)
    assert [device.uuid for device in practice_devices(3)[:2]] == [each.uuid for each in devices]
    assert len({device.uuid for device in practice_devices(256)}) == 256
    assert practice_devices(0) == ()


@pytest.mark.parametrize("count", [-1, 257])
def test_there_cannot_be_any_number_of_practice_devices(count):
    with pytest.raises(ValueError, match="from 0 to 256"):
        practice_devices(count)


def test_the_stand_in_agrees_with_practice_devices(nvml, stand_in, tmp_path, monkeypatch):
    """What a container sees of a practice device is what the hub leases."""
    uuids = [device.uuid for device in practice_devices(6)[1:]]
    leased = tuple(
        replace(
            device,
            links=tuple(link for link in device.links if link[0] in uuids),
            compute_processes=0,
            utilization_percent=0,
            detail=DeviceDetail((), 0, True, "default"),
        )
        for device in practice_devices(6)[1:]
    )
    inventory = nvml(tmp_path / "unused")
    monkeypatch.delenv("GPUCAMP_PRACTICE_FILE")
    monkeypatch.setenv("NVIDIA_VISIBLE_DEVICES", ",".join(device.uuid for device in leased))
    seen = (
        replace(device, links=tuple(link for link in device.links if link[1] > Link.OTHER_SOCKET))
        for device in inventory.scan()
    )
    assert tuple(seen) == leased


# -- which of them


class Fixed:
    """An inventory that answers what it is told to."""

    def __init__(self, answer: tuple[Device, ...] | Exception) -> None:
        self.answer = answer

    def scan(self) -> tuple[Device, ...]:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


CARD = Device("GPU-real", "NVIDIA A100", 1)


def detected(answer, root):
    nvml = Fixed(answer)
    return nvml, DetectedInventory(nvml, PracticeInventory(2), root)


def test_a_card_is_used(tmp_path):
    _, inventory = detected((CARD,), tmp_path)
    assert inventory.scan() == (CARD,)


@pytest.mark.parametrize("answer", [NoDriver("none"), ()])
def test_without_a_card_devices_are_simulated(tmp_path, answer, caplog):
    _, inventory = detected(answer, tmp_path)
    assert inventory.scan() == inventory.scan() == practice_devices(2)
    assert [record.message for record in caplog.records] == [
        "No NVIDIA card on this host: working with simulated devices."
    ]


def pci_device(root: Path, vendor: str, kind: str) -> None:
    folder = root / "sys/bus/pci/devices/0000:01:00.0"
    folder.mkdir(parents=True)
    (folder / "vendor").write_text(vendor + "\n")
    (folder / "class").write_text(kind + "\n")


@pytest.mark.parametrize("sign", ["/proc/driver/nvidia/version", "/dev/nvidiactl", "PCI 0000:01"])
def test_a_card_without_a_driver_is_not_replaced_by_simulated_ones(tmp_path, sign):
    """As after a restart of the hub on a host whose driver is away."""
    if sign.startswith("PCI"):
        pci_device(tmp_path, "0x10de", "0x030200")
    else:
        file = tmp_path / sign[1:]
        file.parent.mkdir(parents=True)
        file.touch()
    nvml, inventory = detected(NoDriver("NVML is away."), tmp_path)
    with pytest.raises(InventoryUnavailable, match=f"{sign}.*NVML is away.*=practice"):
        inventory.scan()
    nvml.answer = ()
    assert inventory.scan() == ()
    nvml.answer = (CARD,)
    assert inventory.scan() == (CARD,)


@pytest.mark.parametrize(("vendor", "kind"), [("0x10de", "0x040300"), ("0x8086", "0x030000")])
def test_other_pci_devices_are_no_sign_of_a_card(tmp_path, vendor, kind):
    pci_device(tmp_path, vendor, kind)
    _, inventory = detected(NoDriver("none"), tmp_path)
    assert inventory.scan() == practice_devices(2)


def test_a_card_that_answered_before_is_never_simulated(tmp_path):
    nvml, inventory = detected((CARD,), tmp_path)
    inventory.scan()
    nvml.answer = NoDriver("gone")
    with pytest.raises(InventoryUnavailable, match="answered before"):
        inventory.scan()
    nvml.answer = ()
    assert inventory.scan() == (), "missing, but not simulated"
    nvml.answer = InventoryUnavailable("hangs")
    with pytest.raises(InventoryUnavailable, match="hangs"):
        inventory.scan()


def test_a_driver_that_appears_later_is_used(tmp_path):
    nvml, inventory = detected(NoDriver("none"), tmp_path)
    assert inventory.scan() == practice_devices(2)
    nvml.answer = (CARD,)
    assert inventory.scan() == (CARD,)


@pytest.mark.parametrize("setting", [None, "practice"])
def test_practice_can_be_asked_for(monkeypatch, setting):
    monkeypatch.setenv("GPUCAMP_INVENTORY", "practice" if setting is None else "nvml")
    assert discover(3, kind=setting).scan() == practice_devices(3)


def test_nvml_can_be_asked_for(monkeypatch):
    monkeypatch.setenv("GPUCAMP_INVENTORY", "nvml")
    assert isinstance(discover(), NvmlInventory)


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="auto, nvml, practice"):
        discover(kind="cdi")


def test_scan_keeps_one_inventory_per_process(nvml, practice_file, monkeypatch):
    monkeypatch.delenv("GPUCAMP_INVENTORY", raising=False)
    nvml(practice_file({"uuid": "GPU-a", "name": "NVIDIA"}))
    assert [device.uuid for device in scan(7)] == ["GPU-a"]
    practice_file({"uuid": "GPU-a"}, faults={"nvmlInit": 9})
    with pytest.raises(InventoryUnavailable, match="answered before"):
        scan(7)


def test_the_probe_prints_json_only(nvml, practice_file, environment):
    file = practice_file({"uuid": "GPU-a"})
    result = subprocess.run(
        [sys.executable, "-m", "hub_ext.inventory.nvml_probe"],
        env=environment
        | {"GPUCAMP_PRACTICE_FILE": str(file), "PYTHONPATH": str(Path(__file__).parents[3])},
        capture_output=True,
        text=True,
        timeout=60,
    )
    answer = json.loads(result.stdout)
    assert [card["error"] for card in answer["cards"]] == [""]
    assert answer["links"] == {"GPU-a": []}
