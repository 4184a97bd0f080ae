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
from test_host_checks import CASES as HOST_CASES

from server_ext.doctor import report_store
from server_ext.doctor.checks import CATALOGUE
from server_ext.doctor.facts import Failure

HUNG = Failure("timeout", "no answer within 5 s")
CRASHED = Failure("crashed", "ended by SIGSEGV", -11, "Fatal Python error: Segmentation fault")
NO_ROOM = Failure("not-started", "BlockingIOError: [Errno 11] Resource temporarily unavailable")
NO_PYTHON = Failure("not-started", "the kernel's Python does not start")
FOREIGN = {"index": 1, "error": {"code": 4, "text": "Insufficient Permissions"}}

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


def second_gpu(**facts: Any) -> list[tuple[str, Any]]:
    """A second card, given and shown by NVML."""
    first = with_gpu()["nvml"]["devices"][0]
    other = {**first, "index": 1, "uuid": "GPU-second", **facts}
    return [
        ("environment.variables.GPUCAMP_DEVICES", f"{UUID},GPU-second"),
        ("nvml.count", 2),
        ("nvml.devices", [first, other]),
    ]


def nvml_error(code: int, text: str) -> dict[str, Any]:
    return {"error": {"code": code, "text": text}}


def visible(value: str) -> list[tuple[str, Any]]:
    return [("environment.variables.CUDA_VISIBLE_DEVICES", value)]


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
        [
            ("kernelspec.name", "conda"),
            ("python.prefix", "/opt/conda"),
            ("python.executable", "/opt/conda/bin/python"),
        ],
        "GC206",
    ),
    (
        "other Python in the image's kernel",
        [("python.prefix", "/usr"), ("python.executable", "/usr/bin/python3")],
        "GC208",
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
    *(
        (
            f"NVML {number} at its handle",
            [("nvml.devices.0", {"index": 0, **nvml_error(number, "x")})],
            code,
        )
        for number, code in (
            (1, "GC151"),
            (4, "GC151"),
            (8, "GC151"),
            (9, "GC125"),
            (11, "GC151"),
            (16, "GC127"),
            (17, "GC151"),
            (18, "GC124"),
            (999, "GC151"),
        )
    ),
    ("no UUID", [("nvml.devices.0.uuid", nvml_error(999, "Unknown Error"))], "GC151"),
    ("no memory", [("nvml.devices.0.memory", nvml_error(10, "Timeout"))], "GC151"),
    (
        "the second of two does not answer",
        [*second_gpu(), ("nvml.devices.1", {"index": 1, **nvml_error(999, "Unknown Error")})],
        "GC151",
    ),
    (
        "the second of two is not there",
        [("environment.variables.GPUCAMP_DEVICES", f"{UUID},GPU-second")],
        "GC106",
    ),
    ("nodes without a card", [("nvml.count", 0), ("nvml.devices", [])], "GC102"),
    ("NVML tells less than it counts", [*second_gpu(), ("nvml.devices.1", 3)], "GC902"),
    ("reset wanted", [("nvml.devices.0.recovery_action", 1)], "GC127"),
    ("reboot wanted", [("nvml.devices.0.recovery_action", 2)], "GC127"),
    ("an unknown recovery action", [("nvml.devices.0.recovery_action", 77)], "GC127"),
    ("peers to be drained", [("nvml.devices.0.recovery_action", 3)], "GC153"),
    ("to be drained", [("nvml.devices.0.recovery_action", 4)], "GC153"),
    ("kept for one process", [("nvml.devices.0.compute_mode", 3)], "GC152"),
    ("kept for one thread", [("nvml.devices.0.compute_mode", 1)], "GC152"),
    ("CUDA_VISIBLE_DEVICES twice", visible("0,0"), "GC128"),
    ("CUDA_VISIBLE_DEVICES twice, by UUID", visible(f"{UUID},{UUID[:12]}"), "GC128"),
    ("CUDA_VISIBLE_DEVICES no slice", visible("MIG-bogus"), "GC128"),
    ("CUDA_VISIBLE_DEVICES no slice of this", visible(UUID.replace("GPU", "MIG")), "GC128"),
    ("CUDA_VISIBLE_DEVICES junk", visible("cuda:0"), "GC128"),
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
    ("cuInit 34", [("libcuda", cu_init(34, "CUDA_ERROR_STUB_LIBRARY", "stub"))], "GC130"),
    ("cuInit 46", [("libcuda", cu_init(46, "CUDA_ERROR_DEVICE_UNAVAILABLE", "busy"))], "GC138"),
    ("cuInit 3", [("libcuda", cu_init(3, "", "initialization error"))], "GC139"),
    ("cuInit 304", [("libcuda", cu_init(304, "", "OS call failed"))], "GC139"),
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
    ("one of two seen", second_gpu(), "GC142"),
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
    (
        "300 MB /dev/shm",
        [
            ("resources.filesystems.shm.bytes", 300 * 2**20),
            ("resources.filesystems.shm.free_bytes", 300 * 2**20),
        ],
        "GC413",
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


def codes_of(expected: str | set[str]) -> set[str]:
    return {expected} if isinstance(expected, str) else expected


@pytest.mark.parametrize(("changes", "expected"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_each_illness_gives_its_code_and_no_other(
    changes: list[tuple[str, Any]], expected: str | set[str]
) -> None:
    body = with_gpu()
    for path, value in changes:
        change(body, path, copy.deepcopy(value))
    findings = findings_of(body)
    assert set(findings) == codes_of(expected)
    for code, finding in findings.items():
        described = finding.describe(lambda text: text, "/docs/{code}")
        for key in ("title", "fix", "command", "docs_url"):
            assert not re.search(r"\{\w+\}", str(described[key])), described[key]
        assert described["docs_url"] == f"/docs/{code}"


PACKAGES: list[tuple[str, list[tuple[str, str]], set[str]]] = [
    ("torch upgraded", [("torch", "2.14.0+cu130")], {"GC301"}),
    ("the same torch again", [("torch", "2.9.1")], set()),
    ("the same torch and build again", [("torch", "2.9.1+cu128")], set()),
    ("the same torch for another CUDA 12", [("torch", "2.9.1+cu126")], {"GC307"}),
    ("the same torch for CUDA 13", [("torch", "2.9.1+cu130")], {"GC301"}),
    # torch itself says that it has no CUDA: GC321
    ("the same torch for the CPU", [("torch", "2.9.1+cpu")], set()),
    ("torchvision of the same build", [("torchvision", "0.24.1+cu128")], set()),
    ("torchvision for another CUDA 12", [("torchvision", "0.24.1+cu126")], set()),
    ("torchvision for CUDA 13", [("torchvision", "0.24.1+cu130")], {"GC302"}),
    ("triton of a build of its own", [("triton", "3.5.1+git1b0418a9")], set()),
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
    reached = {code for _, _, expected in CASES for code in codes_of(expected)} | {
        "GC101",
        "GC109",
        "GC904",
    }
    reached |= {code for _, _, expected in PACKAGES for code in expected}
    reached |= {"GC168"}.union(*(codes for _, codes in HOST_CASES))
    assert set(CATALOGUE) - reached == set()


def mended_by(body: dict[str, Any], code: str) -> str:
    return str(findings_of(body)[code].describe(lambda text: text, "")["who"])


class TestWhoCanMendIt:
    """Whom the facts send the reader to."""

    @pytest.mark.parametrize(
        ("driver", "torch", "who"),
        [(12080, "13.0", "you"), (11080, "12.8", "instructor"), (11080, "13.0", "instructor")],
    )
    def test_a_driver_that_would_do_for_the_images_torch(
        self, driver: int, torch: str, who: str
    ) -> None:
        body = with_gpu()
        body["libcuda"]["version"] = driver
        body["torch"]["torch"]["cuda"] = torch
        assert mended_by(body, "GC132") == who

    @pytest.mark.parametrize(
        ("error", "code", "who"),
        [
            (3, "GC139", "instructor"),
            (304, "GC139", "instructor"),
            (999, "GC139", "you"),
            (34, "GC130", "you"),
            (46, "GC138", "instructor"),
            (803, "GC134", "instructor"),
        ],
    )
    def test_an_error_of_cu_init(self, error: int, code: str, who: str) -> None:
        body = with_gpu()
        body["libcuda"] = cu_init(error, "", "x")
        assert mended_by(body, code) == who

    def test_a_libcuda_of_the_users_own(self) -> None:
        body = with_gpu()
        body["libcuda"] = cu_init(803, "", "x")
        body["libcuda"]["library"]["path"] = "/home/jovyan/cuda/libcuda.so.550.1"
        body["system"]["library_path"] = [
            {"directory": "/home/jovyan/cuda/", "libraries": ["libcuda.so.1"]}
        ]
        assert mended_by(body, "GC134") == "you"

    def test_it_stays_when_the_report_is_read_in_another_language(self) -> None:
        body = with_gpu()
        body["libcuda"] = cu_init(304, "", "x")
        described = findings_of(body)["GC139"].describe(lambda text: text, "")
        kept = report_store.localised({"findings": [described]}, lambda text: text, "")
        assert kept["findings"][0]["who"] == "instructor"


@pytest.mark.parametrize(
    "changes",
    [
        visible("0"),
        visible(" 0 "),
        visible("0,7"),
        visible("0,junk"),
        visible(UUID),
        visible(UUID[:10]),
        visible(f"MIG-{UUID}/1/0"),
        [("nvml.devices.0.memory", nvml_error(3, "Not Supported"))],
        [("nvml.devices.0.memory", nvml_error(-1, "the library has no such call"))],
        [("nvml.devices.0.recovery_action", nvml_error(3, "Not Supported"))],
        # someone else's card, which is counted and may not be touched
        [("nvml.count", 2), ("nvml.devices", [with_gpu()["nvml"]["devices"][0], FOREIGN])],
        *(
            [("system.preload", [{"library": library, "exists": exists}])]
            for library, exists in (
                ("/usr/lib/x86_64-linux-gnu/libjemalloc.so.2", True),
                ("/usr/lib/x86_64-linux-gnu/libtcmalloc.so.4", True),
                ("/usr/lib/libtcmalloc_minimal.so.4", True),
                ("libjemalloc.so", None),
                ("/x/libiomp5.so", True),
                ("/x/torch.libs/libgomp-98b21ff3.so.1.0.0", True),
            )
        ),
        [("resources.filesystems.work", {"path": "/w", "error": "[Errno 2] No such file"})],
    ],
)
def test_what_works_is_no_illness(changes: list[tuple[str, Any]]) -> None:
    body = with_gpu()
    for path, value in changes:
        change(body, path, copy.deepcopy(value))
    assert findings_of(body) == {}
    assert not [o.check.name for o in outcomes_of(body) if o.state != "passed"]


@pytest.mark.parametrize(
    ("leased", "value", "hidden"),
    [
        ("MIG-0d6dbcb1-0000-4000-8000-000000000001", "MIG-0d6dbcb1", False),
        ("MIG-0d6dbcb1-0000-4000-8000-000000000001", "MIG-1d6dbcb1", True),
        ("MIG-0d6dbcb1-0000-4000-8000-000000000001", "0", False),
        ("", "MIG-0d6dbcb1-0000-4000-8000-000000000001", False),
        ("", "MIG-bogus", True),
    ],
)
def test_a_slice_is_known_by_the_lease_or_by_its_form(
    leased: str, value: str, hidden: bool
) -> None:
    body = with_gpu()
    body["environment"]["variables"] |= {"GPUCAMP_DEVICES": leased, "CUDA_VISIBLE_DEVICES": value}
    assert ("GC128" in findings_of(body)) is hidden


@pytest.mark.parametrize(
    ("library", "exists"),
    [
        ("/gone/libjemalloc.so.2", False),
        ("/usr/local/cuda/lib64/libnccl.so.2", True),
        ("/x/libgomphose.so", True),
    ],
)
def test_what_is_preloaded_and_may_harm_is_told(library: str, exists: bool) -> None:
    body = with_gpu()
    body["system"]["preload"] = [{"library": library, "exists": exists}]
    assert set(findings_of(body)) == {"GC213"}


@pytest.mark.parametrize(
    ("code", "severity"),
    [
        # as the catalogue of failures has them; the milder ones are for what works all the same
        *((code, "blocker") for code in ("GC127", "GC208", "GC401")),
        *((code, "degraded") for code in ("GC152", "GC153", "GC207", "GC413", "GC901", "GC902")),
        *((code, "advice") for code in ("GC206", "GC307")),
    ],
)
def test_severities(code: str, severity: str) -> None:
    assert CATALOGUE[code].severity == severity


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
