"""Facts -> findings, for every code; and silence where nothing is wrong."""

from __future__ import annotations

import copy
import re
from typing import Any

import pytest
from bodies import (
    DELETE,
    GIB,
    NO_GPU,
    UUID,
    VENV,
    change,
    findings_of,
    outcomes_of,
    package,
    practice,
    with_gpu,
)

from server_ext.doctor.checks import CATALOGUE
from server_ext.doctor.facts import Failure

HUNG = Failure("timeout", "no answer within 5 s")
CRASHED = Failure("crashed", "ended by SIGSEGV", -11, "Fatal Python error: Segmentation fault")
NO_ROOM = Failure("not-started", "BlockingIOError: [Errno 11] Resource temporarily unavailable")
NO_PYTHON = Failure("not-started", "the kernel's Python does not start")

CULPRIT = {
    "tried": [{"name": "typing_extensions", "version": "4.0.0"}],
    "culprits": [{"name": "typing_extensions", "version": "4.0.0", "directory": VENV}],
}


def failed_import(kind: str, message: str, name: str | None = None) -> dict[str, Any]:
    error = {"type": kind, "message": message, "name": name, "path": None, "frames": []}
    return {"ok": False, "error": error, "warnings": []}


def nvml_init(code: int, text: str) -> dict[str, Any]:
    return {"library": {"path": "/x"}, "init": {"code": code, "text": text}}


def cu_init(code: int, name: str, text: str) -> dict[str, Any]:
    init = {"code": code, "name": name, "text": text}
    return {"library": {"path": "/x/libcuda.so.1"}, "version": 12080, "init": init}


def torch_says(text: str) -> list[tuple[str, Any]]:
    """torch refuses, with this reason."""
    return [
        ("torch.torch.available", False),
        ("torch.torch.init", {"error": {"type": "RuntimeError", "message": text}}),
        ("torch.torch.devices", DELETE),
    ]


def add_fails(text: str) -> list[tuple[str, Any]]:
    error = {"error": {"type": "RuntimeError", "message": text}}
    return [("torch.torch.devices.0.add", error)]


CASES: list[tuple[str, list[tuple[str, Any]], str | set[str]]] = [
    # (what happened, changes to a healthy server with a GPU, the codes that must come, and no
    # others)
    (
        "no kernel spec",
        [("kernelspec", {"name": "x", "found": False, "available": ["python3"]})],
        "GC201",
    ),
    (
        "python deleted",
        [
            ("kernelspec.python_exists", False),
            ("kernelspec.python_problem", "/home/jovyan/.venv/bin/python does not exist"),
            ("python", Failure("not-started", "the kernel has no Python")),
            ("packages", Failure("not-started", "the kernel has no Python")),
            ("torch", Failure("not-started", "the kernel has no Python")),
            ("ipykernel", Failure("not-started", "the kernel has no Python")),
        ],
        "GC202",
    ),
    ("python crashes", [("python", CRASHED), ("torch", CRASHED), ("ipykernel", CRASHED)], "GC203"),
    ("python hangs", [("python", HUNG), ("torch", HUNG), ("ipykernel", HUNG)], "GC203"),
    (
        "ipykernel removed",
        [
            (
                "ipykernel",
                failed_import("ModuleNotFoundError", "No module named 'ipykernel'", "ipykernel"),
            )
        ],
        "GC204",
    ),
    ("ipykernel crashes", [("ipykernel", CRASHED)], "GC204"),
    (
        "ipykernel broken by a package",
        [
            ("ipykernel", failed_import("TypeError", "extra_items")),
            ("ipykernel_culprit", CULPRIT),
        ],
        "GC205",
    ),
    (
        "other Python",
        [("python.prefix", "/opt/conda"), ("python.executable", "/opt/conda/bin/python")],
        "GC206",
    ),
    (
        "wrapper kernel",
        [
            ("kernelspec.is_python", False),
            ("kernelspec.python_exists", DELETE),
            ("kernelspec.argv", ["conda", "run", "python"]),
            ("python", Failure("not-started", "")),
            ("packages", Failure("not-started", "")),
            ("ipykernel", Failure("not-started", "")),
            ("torch", Failure("not-started", "")),
        ],
        "GC207",
    ),
    (
        "user site",
        [
            ("python.user_site.on_path", True),
            (
                "packages.directories.0",
                {
                    "directory": "/home/jovyan/.local/x",
                    "base": False,
                    "distributions": [{"name": "rich", "version": "1", "modules": ["rich"]}],
                },
            ),
        ],
        "GC211",
    ),
    (
        "LD_LIBRARY_PATH with CUDA",
        [
            (
                "system.library_path",
                [{"directory": "/usr/local/cuda/lib64", "libraries": ["libcudart.so.12"]}],
            )
        ],
        "GC212",
    ),
    ("LD_PRELOAD", [("system.preload", [{"library": "/x/libfoo.so", "exists": True}])], "GC213"),
    (
        "PYTHONPATH",
        [
            ("environment.variables.PYTHONPATH", "/home/jovyan/old:"),
            (
                "packages.directories.0",
                {
                    "directory": "/home/jovyan/old",
                    "base": False,
                    "distributions": [{"name": "numpy", "version": "1.26.4", "modules": ["numpy"]}],
                },
            ),
        ],
        "GC214",
    ),
    ("torch.py in work", [("python.shadows", ["torch.py"])], "GC215"),
    # -- device
    (
        "GPU promised, no node",
        [("system.nodes", {}), ("nvml", {"library": {"error": "x"}})],
        "GC102",
    ),
    (
        "EPERM",
        [("system.nodes.nvidiactl.open", "EPERM"), ("nvml", nvml_init(999, "Unknown Error"))],
        "GC103",
    ),
    ("EACCES", [("system.nodes.nvidia0.open", "EACCES")], "GC103"),
    (
        "ENXIO",
        [("system.nodes.nvidiactl.open", "ENXIO"), ("nvml", nvml_init(9, "Driver Not Loaded"))],
        "GC104",
    ),
    ("no uvm", [("system.nodes.nvidia-uvm", DELETE)], "GC105"),
    ("no nvidiactl", [("system.nodes.nvidiactl", DELETE)], "GC105"),
    ("another GPU", [("environment.variables.GPUCAMP_DEVICES", "GPU-other")], "GC106"),
    # -- nvml
    ("no NVML", [("nvml", {"library": {"error": "libnvidia-ml.so.1: cannot open"}})], "GC121"),
    ("NVML hangs", [("nvml", HUNG)], "GC122"),
    ("NVML crashes", [("nvml", CRASHED)], "GC123"),
    ("NVML unknown error", [("nvml", nvml_init(999, "Unknown Error"))], "GC123"),
    ("NVML 18", [("nvml", nvml_init(18, "RM has detected an NVML/RM version mismatch."))], "GC124"),
    ("versions differ", [("system.driver", "550.54.15")], "GC124"),
    ("driver not loaded", [("nvml", nvml_init(9, "Driver Not Loaded"))], "GC125"),
    ("GPU lost at init", [("nvml", nvml_init(15, "GPU is lost"))], "GC126"),
    (
        "GPU lost at its handle",
        [("nvml.devices.0", {"index": 0, "error": {"code": 15, "text": "GPU is lost"}})],
        "GC126",
    ),
    (
        "GPU lost at its memory",
        [("nvml.devices.0.memory", {"error": {"code": 15, "text": "GPU is lost"}})],
        "GC126",
    ),
    ("recovery action", [("nvml.devices.0.recovery_action", 2)], "GC127"),
    ("CUDA_VISIBLE_DEVICES empty", [("environment.variables.CUDA_VISIBLE_DEVICES", "")], "GC128"),
    ("CUDA_VISIBLE_DEVICES -1", [("environment.variables.CUDA_VISIBLE_DEVICES", "-1")], "GC128"),
    ("CUDA_VISIBLE_DEVICES 1 of 1", [("environment.variables.CUDA_VISIBLE_DEVICES", "1")], "GC128"),
    (
        "CUDA_VISIBLE_DEVICES wrong UUID",
        [("environment.variables.CUDA_VISIBLE_DEVICES", "GPU-1")],
        "GC128",
    ),
    ("prohibited", [("nvml.devices.0.compute_mode", 2)], "GC129"),
    # -- libcuda
    ("no libcuda", [("libcuda", {"library": {"error": "libcuda.so.1: cannot open"}})], "GC131"),
    ("driver too old", [("libcuda.version", 11080)], "GC132"),
    (
        "driver too old for a newer torch",
        [("torch.torch.cuda", "13.0"), ("libcuda.version", 12080)],
        "GC132",
    ),
    (
        "cuInit 100",
        [("libcuda", cu_init(100, "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device"))],
        "GC133",
    ),
    (
        "cuInit 803",
        [("libcuda", cu_init(803, "", "system has unsupported display driver"))],
        "GC134",
    ),
    ("cuInit 804", [("libcuda", cu_init(804, "", "forward compatibility was attempted"))], "GC135"),
    ("cuInit 802", [("libcuda", cu_init(802, "", "system not yet initialized"))], "GC136"),
    ("cuInit hangs", [("libcuda", HUNG)], "GC137"),
    ("cuInit 999", [("libcuda", cu_init(999, "CUDA_ERROR_UNKNOWN", "unknown error"))], "GC139"),
    ("libcuda crashes", [("libcuda", CRASHED)], "GC139"),
    # -- cuda
    ("torch refuses", torch_says("CUDA unknown error - this may be due to"), "GC141"),
    (
        "torch hangs with the GPU",
        [("torch.cut_short", {"kind": "timeout", "detail": "no answer in time"})],
        "GC149",
    ),
    ("one of two seen", [("nvml.count", 2)], "GC142"),
    ("old card", [("torch.torch.devices.0.capability", [6, 1])], "GC143"),
    ("no kernel image", add_fails("CUDA error: no kernel image is available"), "GC143"),
    ("memory full", add_fails("CUDA out of memory. Tried to allocate 20.00 MiB."), "GC144"),
    ("busy", add_fails("CUDA error: CUDA-capable device(s) is/are busy or unavailable"), "GC145"),
    ("ECC", add_fails("CUDA error: uncorrectable ECC error encountered"), "GC146"),
    ("compute fails", add_fails("CUDA error: an illegal instruction was encountered"), "GC147"),
    ("memory nearly full", [("nvml.devices.0.memory.used", 39 * GIB)], "GC148"),
    # -- torch
    (
        "torch broken by a package",
        [
            (
                "torch",
                failed_import("ImportError", "cannot import name 'TypeIs'", "typing_extensions"),
            ),
            ("torch_culprit", CULPRIT),
        ],
        "GC311",
    ),
    (
        "torch hangs because of a package",
        [("torch", HUNG), ("torch_culprit", CULPRIT)],
        "GC311",
    ),
    (
        "torch not installed",
        [("torch", failed_import("ModuleNotFoundError", "No module named 'torch'", "torch"))],
        "GC312",
    ),
    (
        "libcudart missing",
        [
            (
                "torch",
                failed_import(
                    "ImportError",
                    "libcudart.so.13: cannot open shared object file: No such file or directory",
                ),
            )
        ],
        "GC313",
    ),
    (
        "undefined symbol",
        [
            (
                "torch",
                failed_import("ImportError", "libcusparse.so.12: undefined symbol: __nvJitLinkX"),
            ),
            ("environment.variables.LD_LIBRARY_PATH", "/usr/local/cuda/lib64"),
        ],
        "GC314",
    ),
    ("torch damaged", [("torch", failed_import("SyntaxError", "invalid syntax"))], "GC315"),
    (
        "a module that torch needs is missing",
        [("torch", failed_import("ModuleNotFoundError", "No module named 'sympy'", "sympy"))],
        "GC315",
    ),
    ("torch hangs", [("torch", HUNG)], "GC316"),
    ("torch crashes", [("torch", CRASHED)], "GC317"),
    (
        "CPU-only torch",
        [
            ("torch.torch.version", "2.9.1+cpu"),
            ("torch.torch.cuda", None),
            *torch_says("not compiled"),
        ],
        "GC321",
    ),
    ("cuDNN other", [("torch.torch.cudnn", 90100)], "GC322"),
    (
        "cuDNN incompatible",
        [
            (
                "torch.torch.cudnn",
                {"error": {"type": "RuntimeError", "message": "cuDNN version incompatibility"}},
            )
        ],
        "GC322",
    ),
    (
        "NumPy unusable",
        [
            (
                "torch.torch.numpy",
                {"error": {"type": "RuntimeError", "message": "Numpy is not available"}},
            )
        ],
        "GC323",
    ),
    # -- resources
    (
        "64 MB /dev/shm",
        [
            ("resources.filesystems.shm.bytes", 64 * 2**20),
            ("resources.filesystems.shm.free_bytes", 64 * 2**20),
        ],
        "GC401",
    ),
    ("/dev/shm full", [("resources.filesystems.shm.free_bytes", 4096)], "GC402"),
    (
        "/dev/shm leftovers",
        [("resources.shm_leftovers", [{"name": "nccl-x", "bytes": 9}])],
        "GC403",
    ),
    ("killed for memory", [("resources.memory.oom_kills", 2)], "GC404"),
    ("disk full", [("resources.filesystems.work.free_bytes", 2**20)], "GC405"),
    ("disk nearly full", [("resources.filesystems.work.free_bytes", 500 * 2**20)], "GC406"),
    ("no inodes", [("resources.filesystems.work.free_inodes", 0)], "GC407"),
    ("no gcc", [("resources.compiler", None)], "GC408"),
    ("no Python.h", [("python.python_h", False)], "GC409"),
    ("few open files", [("resources.limits.nofile", 1024)], "GC410"),
    ("orphans", [("resources.orphan_ranks", [{"pid": 77, "command": "python train.py"}])], "GC411"),
    ("storage hangs", [("resources", HUNG)], "GC412"),
    # -- what could not be examined
    ("packages take too long", [("packages", HUNG)], "GC901"),
    ("packages without an answer", [("packages", {})], "GC901"),
    ("system crashes", [("system", CRASHED)], "GC902"),
    ("resources crash", [("resources", CRASHED)], "GC902"),
    (
        "a disk that cannot be asked",
        [("resources.filesystems.home", {"path": "/home/jovyan", "error": "[Errno 107] not conn"})],
        "GC902",
    ),
    (
        "no room for a process",
        [
            *((name, NO_ROOM) for name in ("system", "resources", "nvml", "libcuda", "python")),
            *((name, NO_PYTHON) for name in ("packages", "ipykernel", "torch")),
        ],
        "GC903",
    ),
    (
        "no room any more for torch",
        [("torch", NO_ROOM), ("packages", NO_ROOM)],
        "GC903",
    ),
]


@pytest.mark.parametrize(("changes", "expected"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_each_illness_gives_its_code_and_no_other(
    changes: list[tuple[str, Any]], expected: str
) -> None:
    body = with_gpu()
    for path, value in changes:
        change(body, path, copy.deepcopy(value))
    findings = findings_of(body)
    assert set(findings) == {expected}
    described = findings[expected].describe(lambda text: text, "/docs/{code}")
    for key in ("title", "fix", "command", "docs_url"):
        assert not re.search(r"\{\w+\}", str(described[key])), described[key]
    assert described["docs_url"] == f"/docs/{expected}"


PACKAGES: list[tuple[str, list[tuple[str, str]], set[str]]] = [
    ("torch upgraded", [("torch", "2.14.0+cu130")], {"GC301"}),
    ("the same torch again", [("torch", "2.9.1")], set()),
    ("torchvision alone", [("torchvision", "0.25.0")], {"GC302"}),
    ("both alone", [("torchvision", "0.25.0"), ("torchaudio", "2.10.0")], {"GC302"}),
    ("torchvision with its torch", [("torch", "2.10.0"), ("torchvision", "0.25.0")], {"GC301"}),
    ("triton", [("triton", "3.6.0")], {"GC303"}),
    (
        "CUDA 11 and unsuffixed",
        [("nvidia_cublas_cu11", "11.1"), ("nvidia_cublas", "13.0")],
        {"GC304"},
    ),
    ("other cuDNN", [("nvidia_cudnn_cu12", "9.1.0.70")], {"GC305"}),
    ("torch twice", [("torch", "2.9.1"), ("torch", "2.9.0")], {"GC306"}),
    ("harmless packages", [("rich", "13.0"), ("numpy", "2.4.7"), ("nvidia_ml_py", "13.0")], set()),
]


@pytest.mark.parametrize(
    ("installed", "expected"), [c[1:] for c in PACKAGES], ids=[c[0] for c in PACKAGES]
)
def test_packages(installed: list[tuple[str, str]], expected: set[str]) -> None:
    body = with_gpu()
    for name, version in installed:
        package(body, name, version)
    assert set(findings_of(body)) == expected


def test_healthy_servers_give_no_false_alarm() -> None:
    assert findings_of(with_gpu()) == {}
    assert set(findings_of(NO_GPU)) == {"GC101"}
    assert set(findings_of(practice())) == {"GC109"}
    for code in ("GC101", "GC109"):
        assert CATALOGUE[code].severity == "advice"


def test_a_table_reaches_every_code() -> None:
    # GC904 needs a fault of the doctor: test_report.py
    reached = {expected for _, _, expected in CASES} | {"GC101", "GC109", "GC904"}
    reached |= {code for _, _, expected in PACKAGES for code in expected}
    assert set(CATALOGUE) - reached == set()


def test_what_was_promised_decides_between_advice_and_blocker() -> None:
    for variables, expected in (
        ({}, "GC101"),
        ({"NVIDIA_VISIBLE_DEVICES": "void"}, "GC101"),
        ({"NVIDIA_VISIBLE_DEVICES": "none"}, "GC101"),
        ({"NVIDIA_VISIBLE_DEVICES": "all"}, "GC102"),
        ({"NVIDIA_VISIBLE_DEVICES": UUID}, "GC102"),
        ({"GPUCAMP_DEVICES": "", "NVIDIA_VISIBLE_DEVICES": "all"}, "GC101"),
        ({"GPUCAMP_DEVICES": UUID, "NVIDIA_VISIBLE_DEVICES": "void"}, "GC102"),
    ):
        body = copy.deepcopy(NO_GPU)
        body["environment"]["variables"] = variables
        assert set(findings_of(body)) == {expected}, variables


class TestPractice:
    """What is simulated is decided by facts."""

    def test_the_flag_alone_is_not_believed(self) -> None:
        body = practice()
        body["nvml"]["devices"][0] |= {"uuid": UUID, "name": "NVIDIA A100-SXM4-40GB"}
        assert "GC109" not in findings_of(body)
        assert findings_of(body)["GC106"].code.severity == "degraded"

    def test_the_devices_alone_are_not_believed(self) -> None:
        body = practice()
        body["environment"]["variables"]["GPUCAMP_SIMULATED"] = "0"
        assert "GC109" not in findings_of(body)
        assert "GC102" in findings_of(body)

    def test_a_practice_nvml_that_breaks_is_told(self) -> None:
        for broken, expected in (
            (HUNG, "GC122"),
            (nvml_init(999, "Unknown Error"), "GC123"),
            (nvml_init(15, "GPU is lost"), "GC126"),
        ):
            body = practice()
            body["nvml"] = broken
            assert set(findings_of(body)) == {expected}

    def test_a_hidden_device_is_told_here_too(self) -> None:
        body = practice()
        body["environment"]["variables"]["CUDA_VISIBLE_DEVICES"] = "-1"
        assert set(findings_of(body)) == {"GC109", "GC128"}
        body["environment"]["variables"]["CUDA_VISIBLE_DEVICES"] = "0"
        assert set(findings_of(body)) == {"GC109"}

    def test_no_device_at_all(self) -> None:
        body = practice()
        body["nvml"] |= {"count": 0, "devices": []}
        assert set(findings_of(body)) == {"GC102"}


def test_the_first_broken_layer_silences_what_depends_on_it() -> None:
    body = with_gpu()
    body["system"]["nodes"]["nvidiactl"]["open"] = "EPERM"
    body["nvml"] = nvml_init(999, "Unknown Error")
    body["libcuda"] = cu_init(999, "", "unknown error")
    for path, value in torch_says("CUDA unknown error"):
        change(body, path, value)
    body["resources"]["memory"]["oom_kills"] = 1
    assert set(findings_of(body)) == {"GC103", "GC404"}
    skipped = {o.check.name: o.stopped_by for o in outcomes_of(body) if o.stopped_by}
    assert skipped == dict.fromkeys(
        (
            "gpus_are_real",
            "nvml_answers",
            "gpus_are_healthy",
            "gpu_is_not_hidden",
            "cuda_starts",
            "driver_is_new_enough",
            "torch_sees_the_gpus",
            "gpus_compute",
        ),
        "GC103",
    )


def test_findings_of_one_code_are_one_finding_with_all_evidence() -> None:
    body = with_gpu()
    body["system"]["preload"] = [
        {"library": "/x/a.so", "exists": True},
        {"library": "/x/b.so", "exists": False},
    ]
    assert findings_of(body)["GC213"].evidence == (
        "LD_PRELOAD=/x/a.so",
        "LD_PRELOAD=/x/b.so (missing)",
    )


def test_the_breaking_package_is_named_with_both_versions() -> None:
    body = with_gpu()
    body["torch"] = failed_import("ImportError", "cannot import name 'TypeIs'", "typing_extensions")
    body["torch_culprit"] = CULPRIT
    described = findings_of(body)["GC311"].describe(lambda text: text, "")
    assert "typing_extensions 4.0.0" in str(described["title"])
    assert "4.16.0" in str(described["title"])
    assert described["command"] == "pip uninstall -y typing_extensions"
    assert described["severity"] == "blocker"


def test_names_are_data_never_a_format_or_a_command() -> None:
    body = with_gpu()
    body["resources"]["shm_leftovers"] = [
        {"name": "nccl-{count} %s", "bytes": 1},
        {"name": "torch_x; rm -rf ~", "bytes": 1},
        {"name": "torch_ok", "bytes": 1},
    ]
    described = findings_of(body)["GC403"].describe(lambda text: text, "")
    assert described["command"] == "rm -f /dev/shm/torch_ok"
    assert "nccl-{count} %s" in described["evidence"]


@pytest.mark.parametrize("junk", [None, 0, 1.5, "x", [], {}, [[]], {"error": 3}, True])
@pytest.mark.parametrize("probe", sorted(NO_GPU))
def test_no_fact_whatsoever_breaks_a_check(probe: str, junk: Any) -> None:
    """What a broken environment prints cannot be trusted: every value of every probe becomes
    junk.
    """

    def spoil(value: Any) -> list[Any]:
        spoiled = [junk]
        if isinstance(value, dict):
            for key, inner in value.items():
                spoiled += [{**value, key: bad} for bad in spoil(inner)]
        elif isinstance(value, list) and value:
            spoiled += [[bad, *value[1:]] for bad in spoil(value[0])]
        return spoiled

    for body in (with_gpu(), practice()):
        for bad in spoil(body[probe]):
            if isinstance(bad, dict):
                outcomes_of({**body, probe: bad})
