"""Facts -> findings, for every code; and silence where nothing is wrong. What can go wrong is in
cases/, by layer.
"""

from __future__ import annotations

import copy
import importlib
import pkgutil
import re
from typing import Any

import cases
import pytest
from bodies import (
    NO_GPU,
    UUID,
    change,
    findings_of,
    outcomes_of,
    package,
    practice,
    tried,
    with_gpu,
)
from breakages import (
    CULPRIT,
    FOREIGN,
    HUNG,
    Case,
    cu_init,
    failed_import,
    nvml_error,
    nvml_init,
    torch_says,
    visible,
)
from test_host_checks import CASES as HOST_CASES
from test_running_checks import CASES as RUNNING_CASES

from server_ext.doctor import report_store
from server_ext.doctor.checks import ALL_CHECKS, CATALOGUE

CASES: list[Case] = [
    case
    for module in pkgutil.iter_modules(cases.__path__)
    for case in importlib.import_module(f"cases.{module.name}").CASES
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
    if not any(path.startswith("extensions") for path, _ in changes):
        tried(body)
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
    tried(body)
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
    reached |= {"GC168", "GC169"}.union(*(codes for _, codes in HOST_CASES))
    reached |= set().union(*(codes for _, codes in RUNNING_CASES.values()))
    # those of what is measured: test_performance_checks.py
    assert {code.code for check in ALL_CHECKS for code in check.codes} - reached == set()


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
            (214, "GC139", "instructor"),
            (805, "GC139", "instructor"),
            (2, "GC139", "you"),
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

    @pytest.mark.parametrize(
        ("error", "who"), [(3, "you"), (10, "instructor"), (16, "instructor"), (999, "you")]
    )
    def test_an_error_of_nvml(self, error: int, who: str) -> None:
        body = with_gpu()
        body["nvml"] = nvml_init(error, "x")
        assert mended_by(body, "GC123") == who

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
        visible("0,-1"),
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
            "memory_is_sound",
            "slices_are_known",
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
    assert described["severity"] == "blocker"


def test_names_are_data_never_a_format_or_a_command() -> None:
    body = with_gpu()
    body["resources"]["shm_leftovers"] = [
        {"name": "nccl-{count} %s", "bytes": 1},
        {"name": "torch_x; rm -rf ~", "bytes": 1},
        {"name": "torch_ok", "bytes": 1},
    ]
    described = findings_of(body)["GC403"].describe(lambda text: text, "")
    assert described["command"] == ""  # that is the repair's to say (test_repair_plan.py)
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
