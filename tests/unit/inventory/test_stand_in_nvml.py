"""The stand-in NVML answers nvidia-ml-py, torch's calls and nvidia-smi as a card's would."""

from __future__ import annotations

import os
import subprocess
import time

import pytest

UUID = "GPU-5ca1ab1e-0000-4000-8000-{:012x}"


ERROR_OF = """
    def error_of(call, *arguments):
        try:
            call(*arguments)
        except n.NVMLError as error:
            return error.value
        return 0
"""

ALL_VALUES = """
    n.nvmlInit()
    h = n.nvmlDeviceGetHandleByIndex(0)
    pci = n.nvmlDeviceGetPciInfo(h)
    m1, m2 = n.nvmlDeviceGetMemoryInfo(h), n.nvmlDeviceGetMemoryInfo(h, n.nvmlMemory_v2)
    use = n.nvmlDeviceGetUtilizationRates(h)
    field = n.nvmlDeviceGetFieldValues(h, [230, 1])
    show({
        "driver": n.nvmlSystemGetDriverVersion(),
        "cuda": [n.nvmlSystemGetCudaDriverVersion(), n.nvmlSystemGetCudaDriverVersion_v2()],
        "count": n.nvmlDeviceGetCount(),
        "uuid": n.nvmlDeviceGetUUID(h),
        "name": n.nvmlDeviceGetName(h),
        "index": n.nvmlDeviceGetIndex(h),
        "minor": n.nvmlDeviceGetMinorNumber(h),
        "bus": [pci.busId, pci.busIdLegacy, pci.bus],
        "same": n.nvmlDeviceGetIndex(n.nvmlDeviceGetHandleByPciBusId(pci.busId.encode())),
        "memory": [m1.total, m1.used, m1.free],
        "memory_v2": [m2.total, m2.used, m2.reserved, m2.free],
        "use": [use.gpu, use.memory],
        "processes": [[p.pid, p.usedGpuMemory] for p in n.nvmlDeviceGetComputeRunningProcesses(h)],
        "graphics": n.nvmlDeviceGetGraphicsRunningProcesses_v3(h),
        "capability": n.nvmlDeviceGetCudaComputeCapability(h),
        "temperature": n.nvmlDeviceGetTemperature(h, n.NVML_TEMPERATURE_GPU),
        "power": [n.nvmlDeviceGetPowerUsage(h), n.nvmlDeviceGetEnforcedPowerLimit(h)],
        "modes": [n.nvmlDeviceGetPersistenceMode(h), n.nvmlDeviceGetComputeMode(h)],
        "ecc": [n.nvmlDeviceGetEccMode(h)]
        + [n.nvmlDeviceGetTotalEccErrors(h, kind, 0) for kind in (0, 1)],
        "rows": n.nvmlDeviceGetRemappedRows(h),
        "retired": n.nvmlDeviceGetRetiredPagesPendingStatus(h),
        "recovery": [[f.nvmlReturn, f.value.uiVal] for f in field],
        "reasons": [n.nvmlDeviceGetCurrentClocksEventReasons(h),
                    n.nvmlDeviceGetCurrentClocksThrottleReasons(h)],
        "pcie": [n.nvmlDeviceGetCurrPcieLinkGeneration(h), n.nvmlDeviceGetCurrPcieLinkWidth(h),
                 n.nvmlDeviceGetMaxPcieLinkGeneration(h), n.nvmlDeviceGetMaxPcieLinkWidth(h)],
        "mig": n.nvmlDeviceGetMigMode(h),
    })
"""


def test_every_value_comes_from_the_file(in_python, practice_file):
    path = practice_file(
        {
            "uuid": "GPU-a",
            "name": "A card",
            "memory_total": 5 * 10**12,
            "memory_used": 7 * 10**9,
            "memory_reserved": 10**9,
            "utilization": 93,
            "memory_utilization": 41,
            "processes": [{"pid": 4711, "memory": 6 * 10**9}, {"pid": 4712, "memory": 1}],
            "minor": 5,
            "temperature": 81,
            "power": 123456,
            "power_limit": 300000,
            "compute_capability": [9, 1],
            "compute_mode": 3,
            "persistence_mode": 0,
            "ecc": {"mode": 1, "corrected": 17, "uncorrected": 3},
            "remapped_rows": {"correctable": 1, "uncorrectable": 2, "pending": 1, "failure": 0},
            "retired_pages_pending": 1,
            "recovery_action": 4,
            "clocks_event_reasons": 64,
            "pcie": {"generation": 1, "width": 8, "max_generation": 5, "max_width": 16},
        },
        driver_version="580.65.06",
        cuda_version=13000,
    )
    assert in_python(ALL_VALUES, GPUCAMP_PRACTICE_FILE=path) == {
        "driver": "580.65.06",
        "cuda": [13000, 13000],
        "count": 1,
        "uuid": "GPU-a",
        "name": "A card",
        "index": 0,
        "minor": 5,
        "bus": ["00000000:06:00.0", "0000:06:00.0", 6],
        "same": 0,
        "memory": [5 * 10**12, 8 * 10**9, 5 * 10**12 - 8 * 10**9],
        "memory_v2": [5 * 10**12, 7 * 10**9, 10**9, 5 * 10**12 - 8 * 10**9],
        "use": [93, 41],
        "processes": [[4711, 6 * 10**9], [4712, 1]],
        "graphics": [],
        "capability": [9, 1],
        "temperature": 81,
        "power": [123456, 300000],
        "modes": [0, 3],
        "ecc": [[1, 1], 17, 3],
        "rows": [1, 2, 1, 0],
        "retired": 1,
        "recovery": [[0, 4], [3, 0]],
        "reasons": [64, 64],
        "pcie": [1, 8, 5, 16],
        "mig": [0, 0],
    }


def test_a_device_needs_a_uuid_only(in_python, practice_file):
    values = in_python(ALL_VALUES, GPUCAMP_PRACTICE_FILE=practice_file({"uuid": "GPU-a"}))
    assert "imulated" in values["name"]
    assert values["memory"] == [40 * 1024**3, 0, 40 * 1024**3]
    assert values["recovery"][0] == [0, 0]


UUIDS = "n.nvmlInit(); show([n.nvmlDeviceGetUUID(n.nvmlDeviceGetHandleByIndex(i)) for i in range(n.nvmlDeviceGetCount())])"  # noqa: E501


@pytest.mark.parametrize(
    ("visible", "uuids"),
    [
        (UUID.format(1), [UUID.format(1)]),
        ("GPU-b,GPU-a", ["GPU-b", "GPU-a"]),
        ("all", [UUID.format(0), UUID.format(1)]),
        ("1", [UUID.format(1)]),
        ("GPU-a,,nonsense", ["GPU-a"]),
    ],
)
def test_without_a_file_the_visible_devices_are_there(in_python, visible, uuids):
    assert in_python(UUIDS, NVIDIA_VISIBLE_DEVICES=visible) == uuids


@pytest.mark.parametrize("visible", [None, "", "void", "none"])
def test_without_devices_it_is_as_if_there_were_no_library(in_python, visible):
    variables = {} if visible is None else {"NVIDIA_VISIBLE_DEVICES": visible}
    assert in_python(ERROR_OF + "    show(error_of(n.nvmlInit))", **variables) == 12


def test_a_practice_device_has_its_number_as_minor(in_python):
    code = f"""
    n.nvmlInit()
    show(n.nvmlDeviceGetMinorNumber(n.nvmlDeviceGetHandleByUUID(b"{UUID.format(11)}")))
    """
    assert in_python(code, NVIDIA_VISIBLE_DEVICES=f"{UUID.format(2)},{UUID.format(11)}") == 11


@pytest.mark.skipif(os.geteuid() != 0, reason="a /dev of its own needs root")
def test_device_files_of_the_hook_are_devices_without_its_environment(stand_in, environment):
    """As in a process that docker exec starts; a card's files are no plain ones."""
    # /mnt: the stand-in may lie below /dev/shm, which the new /dev hides
    script = """
    mount --bind "$0" /mnt &&
    mount -t tmpfs none /dev && touch /dev/nvidia3 /dev/nvidia11 /dev/nvidiactl &&
    mknod /dev/nvidia0 c 1 3 && exec /mnt/bin/nvidia-smi -L
    """
    result = subprocess.run(
        ["unshare", "-m", "sh", "-c", script, str(stand_in)],
        env=environment | {"NVIDIA_VISIBLE_DEVICES": "void", "LD_LIBRARY_PATH": "/mnt/lib"},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert [line[-42:-1] for line in result.stdout.splitlines()] == [
        " " + UUID.format(3),
        " " + UUID.format(11),
    ]


MIG = """
    n.nvmlInit()
    card = n.nvmlDeviceGetHandleByIndex(0)
    slices = [n.nvmlDeviceGetMigDeviceHandleByIndex(card, i) for i in range({count})]
    parent = n.nvmlDeviceGetDeviceHandleFromMigDeviceHandle(slices[-1])
    show([n.nvmlDeviceGetCount(), n.nvmlDeviceGetMigMode(card), n.nvmlDeviceGetMaxMigDeviceCount(card),
          [n.nvmlDeviceGetUUID(s) for s in slices], n.nvmlDeviceGetUUID(parent),
          [n.nvmlDeviceIsMigDeviceHandle(h).value for h in (card, slices[0])],
          n.nvmlDeviceGetGpuInstanceId(slices[-1]), n.nvmlDeviceGetComputeInstanceId(slices[0]),
          error_of(n.nvmlDeviceGetMigDeviceHandleByIndex, card, {count}),
          error_of(n.nvmlDeviceGetUtilizationRates, slices[0]),
          n.nvmlDeviceGetUUID(n.nvmlDeviceGetHandleByUUID(b"MIG-b"))])
"""  # noqa: E501


def test_mig_instances_are_devices_of_their_card(in_python, practice_file):
    path = practice_file(
        {"uuid": "GPU-a", "mig_devices": [{"uuid": "MIG-a"}, {"uuid": "MIG-b"}]},
        {"uuid": "GPU-b", "mig_devices": [{"uuid": "MIG-c"}]},
    )
    assert in_python(ERROR_OF + MIG.format(count=2), GPUCAMP_PRACTICE_FILE=path) == [
        2,
        [1, 1],
        7,
        ["MIG-a", "MIG-b"],
        "GPU-a",
        [0, 1],
        2,
        0,
        6,
        3,
        "MIG-b",
    ]


def test_a_visible_mig_instance_is_the_slice_of_one_card(in_python):
    found = in_python(ERROR_OF + MIG.format(count=1), NVIDIA_VISIBLE_DEVICES="MIG-b")
    assert found[:4] == [1, [1, 1], 7, ["MIG-b"]]


@pytest.mark.parametrize("code", [9, 18, 999])
def test_initialising_can_fail(in_python, practice_file, code):
    path = practice_file({"uuid": "GPU-a"}, faults={"nvmlInit_v2": code})
    found = in_python(ERROR_OF + "    show(error_of(n.nvmlInit))", GPUCAMP_PRACTICE_FILE=path)
    assert found == code


def test_a_call_can_fail_for_all_devices_or_for_one(in_python, practice_file):
    path = practice_file(
        {"uuid": "GPU-a", "faults": {"nvmlDeviceGetMemoryInfo": 15}},
        {"uuid": "GPU-b", "faults": {"nvmlDeviceGetHandleByIndex_v2": {"error": 15}}},
        {"uuid": "GPU-c"},
        faults={"nvmlDeviceGetTemperature": 999},
    )
    code = """
    n.nvmlInit()
    a, c = (n.nvmlDeviceGetHandleByIndex(i) for i in (0, 2))
    show([error_of(n.nvmlDeviceGetMemoryInfo, a), error_of(n.nvmlDeviceGetMemoryInfo, a, n.nvmlMemory_v2),
          error_of(n.nvmlDeviceGetMemoryInfo, c), error_of(n.nvmlDeviceGetHandleByIndex, 1),
          error_of(n.nvmlDeviceGetTemperature, a, 0), error_of(n.nvmlDeviceGetTemperature, c, 0),
          error_of(n.nvmlDeviceGetHandleByIndex, 3), error_of(n.nvmlDeviceGetHandleByUUID, b"GPU-x")])
    """  # noqa: E501
    assert in_python(ERROR_OF + code, GPUCAMP_PRACTICE_FILE=path) == [15, 15, 0, 15, 999, 999, 2, 6]


def test_a_call_can_hang_and_others_go_on(in_python, practice_file):
    path = practice_file(
        {"uuid": "GPU-a", "faults": {"nvmlDeviceGetUtilizationRates": {"sleep": 3, "error": 15}}}
    )
    code = """
    import threading, time
    n.nvmlInit()
    h = n.nvmlDeviceGetHandleByIndex(0)
    answers = []
    hung = threading.Thread(target=lambda: answers.append(error_of(n.nvmlDeviceGetUtilizationRates, h)))
    begin = time.monotonic()
    hung.start()
    time.sleep(0.3)
    n.nvmlDeviceGetMemoryInfo(h)
    others = time.monotonic() - begin
    hung.join()
    show([others < 2.5, time.monotonic() - begin >= 3, answers])
    """  # noqa: E501
    assert in_python(ERROR_OF + code, GPUCAMP_PRACTICE_FILE=path) == [True, True, [15]]


def test_a_device_can_be_taken_away_and_come_back(in_python, practice_file, tmp_path):
    path = practice_file({"uuid": "GPU-a"}, {"uuid": "GPU-b", "temperature": 50})
    (tmp_path / "without").write_text('{"devices": [{"uuid": "GPU-a"}]}')
    (tmp_path / "with").write_text(path.read_text())
    code = f"""
    import os
    n.nvmlInit()
    h = n.nvmlDeviceGetHandleByIndex(1)
    seen = [n.nvmlDeviceGetTemperature(h, 0)]
    os.replace({str(tmp_path / "without")!r}, {str(path)!r})
    seen += [error_of(n.nvmlDeviceGetTemperature, h, 0), n.nvmlDeviceGetCount()]
    os.replace({str(tmp_path / "with")!r}, {str(path)!r})
    seen += [n.nvmlDeviceGetTemperature(h, 0), n.nvmlDeviceGetCount()]
    os.unlink({str(path)!r})
    show(seen + [error_of(n.nvmlDeviceGetCount)])
    """
    found = in_python(ERROR_OF + code, GPUCAMP_PRACTICE_FILE=path)
    assert found == [50, 15, 1, 50, 2, 999]


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", '{"devices": 3}', '{"devices": []', "\x00\xff", '{"device": []}'],
)
def test_a_file_that_makes_no_sense_breaks_nvml_not_the_process(in_python, tmp_path, text):
    path = tmp_path / "practice.json"
    path.write_bytes(text.encode("latin-1"))
    code = ERROR_OF + "    show(error_of(n.nvmlInit))"
    assert in_python(code, GPUCAMP_PRACTICE_FILE=path) == 999


def test_odd_values_stay_within_bounds(in_python, practice_file):
    path = practice_file(
        {"uuid": "GPU-" + "x" * 5000, "name": "n" * 5000, "memory_total": -1, "temperature": "hot"},
        {"uuid": 7},
        {"name": "no uuid"},
        *({"uuid": f"GPU-{i}", "processes": [{"pid": p} for p in range(500)]} for i in range(500)),
        faults={f"nvmlNothing{i}": 1 for i in range(500)},
    )
    code = """
    n.nvmlInit()
    a, b = (n.nvmlDeviceGetHandleByIndex(i) for i in (0, 1))
    show([n.nvmlDeviceGetCount(), len(n.nvmlDeviceGetUUID(a)), len(n.nvmlDeviceGetName(a)),
          n.nvmlDeviceGetMemoryInfo(a).total, n.nvmlDeviceGetTemperature(a, 0),
          n.nvmlDeviceGetUUID(b), len(n.nvmlDeviceGetComputeRunningProcesses(b))])
    """
    found = in_python(code, GPUCAMP_PRACTICE_FILE=path)
    assert found == [64, 95, 95, 40 * 1024**3, 36, "GPU-0", 32]


def test_nothing_works_before_initialising_or_after_shutting_down(in_python):
    code = """
    import ctypes
    lib = ctypes.CDLL("libnvidia-ml.so.1")
    count, handle = ctypes.c_uint(), ctypes.c_void_p()
    ask = lambda: lib.nvmlDeviceGetCount_v2(ctypes.byref(count))
    show([ask(), lib.nvmlShutdown(), lib.nvmlInit(), lib.nvmlInit_v2(), ask(), lib.nvmlShutdown(),
          ask(), lib.nvmlShutdown(), ask(), lib.nvmlInit(),
          lib.nvmlDeviceGetName(ctypes.c_void_p(1), b" " * 96, 96), lib.nvmlDeviceGetCount_v2(None),
          lib.nvmlDeviceGetHandleByIndex_v2(0, ctypes.byref(handle)),
          lib.nvmlDeviceGetUUID(handle, ctypes.create_string_buffer(5), 5)])
    """
    found = in_python(code, NVIDIA_VISIBLE_DEVICES="GPU-a")
    assert found == [1, 1, 0, 0, 0, 0, 0, 0, 1, 0, 2, 2, 0, 7]


def test_the_calls_of_torch_count_the_devices(in_python):
    """torch.cuda._raw_device_count_nvml and _raw_device_uuid_nvml, without argtypes as there."""
    code = """
    from ctypes import CDLL, byref, c_int, c_void_p, create_string_buffer
    lib = CDLL("libnvidia-ml.so.1")
    assert lib.nvmlInit() == 0
    count, uuids = c_int(-1), []
    assert lib.nvmlDeviceGetCount_v2(byref(count)) == 0
    for index in range(count.value):
        device, buffer = c_void_p(), create_string_buffer(96)
        assert lib.nvmlDeviceGetHandleByIndex_v2(index, byref(device)) == 0
        assert lib.nvmlDeviceGetUUID(device, buffer, 96) == 0
        uuids.append(buffer.raw.decode().strip(chr(0)))
    show(uuids)
    """
    assert in_python(code, NVIDIA_VISIBLE_DEVICES="GPU-a,GPU-b") == ["GPU-a", "GPU-b"]


def test_the_library_needs_nothing_but_what_lies_beside_it(stand_in):
    needs = subprocess.run(
        ["ldd", stand_in / "lib" / "libnvidia-ml.so.1"], capture_output=True, text=True, check=True
    ).stdout
    assert f"libcjson.so.1 => {stand_in}/lib/libcjson.so.1" in needs
    assert "not found" not in needs


@pytest.fixture
def smi(stand_in, environment):
    def run(*arguments: str, **variables: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [stand_in / "bin" / "nvidia-smi", *arguments],
            env=environment | {k: str(v) for k, v in variables.items()},
            capture_output=True,
            text=True,
            timeout=30,
        )

    return run


def test_nvidia_smi_answers_queries(smi, practice_file):
    path = practice_file(
        {"uuid": "GPU-a", "name": "One", "memory_total": 2**31, "memory_used": 2**30},
        {
            "uuid": "GPU-b",
            "name": "Two",
            "utilization": 7,
            "faults": {"nvmlDeviceGetMemoryInfo": 3},
        },
    )
    fields = "--query-gpu=uuid,name,memory.total,memory.used,utilization.gpu"
    plain = smi(fields, "--format=csv,noheader", GPUCAMP_PRACTICE_FILE=path)
    assert plain.stdout == ("GPU-a, One, 2048 MiB, 1024 MiB, 0 %\nGPU-b, Two, [N/A], [N/A], 7 %\n")
    bare = smi(fields, "--format=csv,nounits", GPUCAMP_PRACTICE_FILE=path)
    assert bare.stdout.splitlines()[:2] == [
        "uuid, name, memory.total [MiB], memory.used [MiB], utilization.gpu [%]",
        "GPU-a, One, 2048, 1024, 0",
    ]
    wrong = smi("--query-gpu=uuid,colour", "--format=csv", GPUCAMP_PRACTICE_FILE=path)
    assert (wrong.returncode, wrong.stdout.splitlines()[0]) == (
        2,
        'Field "colour" is not a valid field to query.',
    )


def test_nvidia_smi_lists_devices(smi, practice_file):
    path = practice_file({"uuid": "GPU-a", "mig_devices": [{"uuid": "MIG-a"}]}, {"uuid": "GPU-b"})
    listed = smi("-L", GPUCAMP_PRACTICE_FILE=path)
    assert listed.stdout.splitlines() == [
        "GPU 0: Simulated A100 (practice) (UUID: GPU-a)",
        "  MIG Simulated A100 (practice) Device  0: (UUID: MIG-a)",
        "GPU 1: Simulated A100 (practice) (UUID: GPU-b)",
    ]


def test_nvidia_smi_prints_a_table(smi, practice_file):
    path = practice_file({"uuid": "GPU-a", "processes": [{"pid": 4711, "memory": 2**30}]})
    table = smi(GPUCAMP_PRACTICE_FILE=path)
    assert table.returncode == 0
    assert "Driver Version: 570.172.08" in table.stdout
    assert "CUDA Version: 12.8" in table.stdout
    assert "Simulated A100 (practice)" in table.stdout
    assert "4711" in table.stdout
    assert {len(line) for line in table.stdout.splitlines()[1:]} == {79}


@pytest.mark.parametrize(
    ("faults", "status", "text"),
    [
        ({"nvmlInit": 9}, 9, "couldn't communicate with the NVIDIA driver"),
        ({"nvmlInit": 12}, 12, "couldn't find libnvidia-ml.so"),
        ({"nvmlInit": 18}, 18, "Failed to initialize NVML: Driver/library version mismatch"),
        ({"nvmlInit": 999}, 255, "Failed to initialize NVML: Unknown Error"),
        ({"nvmlDeviceGetHandleByIndex": 15}, 15, "device handle for GPU0: GPU is lost"),
        ({}, 6, "No devices were found"),
    ],
)
def test_nvidia_smi_fails_in_the_words_that_people_search_for(
    smi, practice_file, faults, status, text
):
    devices = [{"uuid": "GPU-a"}] if faults else []
    path = practice_file(*devices, faults=faults)
    result = smi(GPUCAMP_PRACTICE_FILE=path)
    assert result.returncode == status
    assert text in result.stdout


def test_nvidia_smi_without_devices_says_that_there_is_no_library(smi):
    begin = time.monotonic()
    result = smi("-L", NVIDIA_VISIBLE_DEVICES="void")
    assert (result.returncode, time.monotonic() - begin < 10) == (12, True)
    assert "couldn't find libnvidia-ml.so" in result.stdout
