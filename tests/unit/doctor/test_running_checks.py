"""What is said of a kernel that runs, and of the kernels beside it."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from bodies import (
    BASE,
    GIB,
    NO_GPU,
    VENV,
    change,
    facts_of,
    findings_of,
    outcomes_of,
    with_gpu,
)
from hypothesis import given
from hypothesis import strategies as st

from server_ext.doctor.checks import ALL_CHECKS
from server_ext.doctor.facts import Failure
from server_ext.doctor.report import advance, verdict

OF_RUNNING = tuple(check for check in ALL_CHECKS if check.layer == "running")
PYTHON = "/home/jovyan/.venv/bin/python"
TORCH_LIB = BASE + "/torch/lib/"
CUDART = BASE + "/nvidia/cuda_runtime/lib/libcudart.so.12"


def running() -> dict[str, Any]:
    """A kernel that has a tensor on its GPU, and is well."""
    body = with_gpu()
    variables = dict(body["environment"]["variables"])
    body["running"] = {
        "asked": True,
        "state": "alive",
        "id": "00000040-0000",
        "label": "a.ipynb",
        "pid": 40,
        "executable": "/usr/bin/python3.11",
        "executable_deleted": False,
        "libraries": [
            {"path": path, "deleted": False}
            for path in (TORCH_LIB + "libtorch_cpu.so", TORCH_LIB + "libc10.so", CUDART)
            + ("/usr/lib/x86_64-linux-gnu/libcuda.so.570.86.15",)
        ],
        "deleted": [],
        "variables": variables,
        "spec_variables": dict(variables),
        "spec_python": PYTHON,
    }
    body["running_still"] = {"asked": True, "alive": True}
    body["asked"] = {
        "asked": True,
        "pid": 40,
        "variables": dict(variables),
        "modules": {
            "torch": {"version": "2.9.1+cu128", "file": BASE + "/torch/__init__.py"},
            "numpy": {"version": "2.4.6", "file": BASE + "/numpy/__init__.py"},
        },
        "last_error": None,
        "torch": {
            "cuda": "12.8",
            "initialized": True,
            "benchmark": False,
            "count": 1,
            "devices": [
                {
                    "index": 0,
                    "allocated": 2 * GIB,
                    "reserved": 3 * GIB,
                    "unusable": 2**20,
                    "out_of_memory": 0,
                    "total": 40 * GIB,
                }
            ],
        },
    }
    mine = kernel("a.ipynb", 40, 3 * GIB)
    body["kernels"] = {"asked": True, "kernels": [mine], "programs": []}
    return body


def kernel(label: str, pid: int, memory: int | None) -> dict[str, Any]:
    return {
        "id": f"{pid:08}-0000",
        "name": "python3",
        "label": label,
        "state": "idle" if memory is not None else "busy",
        "pid": pid,
        "members": [pid, pid + 1],
        "gpu": True,
        "gpu_bytes": memory,
    }


def test_a_kernel_that_is_well_has_no_findings() -> None:
    assert findings_of(running()) == {}


OOM = {"asked.torch.devices.0.out_of_memory": 2}

CASES: dict[str, tuple[dict[str, Any], set[str]]] = {
    "it ended before": (
        {"running": {"asked": True, "id": "00000040-0000", "state": "ended"}},
        {"GC701"},
    ),
    "it ended meanwhile": ({"running_still.alive": False}, {"GC701"}),
    "of another user": (
        {
            "running": {"asked": True, "id": "00000040-0000", "state": "foreign"},
            "asked": {"asked": False, "why": "busy"},
        },
        {"GC702"},
    ),
    "on another machine": (
        {"running": {"asked": True, "id": "00000040-0000", "state": "elsewhere"}},
        {"GC702"},
    ),
    "stuck in the driver": (
        {"running": {"asked": True, "id": "00000040-0000", "state": "unreadable"}},
        {"GC702"},
    ),
    "busy": ({"asked": {"asked": False, "why": "busy"}}, {"GC703"}),
    "starting": ({"asked": {"asked": False, "why": "starting"}}, {"GC703"}),
    "in a terminal, nobody is asked": ({"asked": {"asked": False, "why": ""}}, set()),
    "silent": ({"asked": Failure("timeout", "no answer")}, {"GC704"}),
    "silent because it ended": (
        {"asked": Failure("timeout", "no answer"), "running_still.alive": False},
        {"GC701"},
    ),
    "torch was replaced": ({"asked.modules.torch.version": "2.8.0+cu128"}, {"GC711"}),
    "another build": ({"asked.modules.torch.version": "2.9.1+cpu"}, {"GC711"}),
    "torch is another file": ({"asked.modules.torch.file": VENV + "/torch/__init__.py"}, {"GC711"}),
    "NumPy was replaced": ({"asked.modules.numpy.version": "1.26.4"}, {"GC711"}),
    "its own module": ({"asked.modules.mine": {"version": "1", "file": "/x"}}, set()),
    "torch without a file": ({"asked.modules.torch.file": "None"}, {"GC711"}),
    "Python is gone": ({"running.executable_deleted": True}, {"GC712"}),
    "a library is gone": ({"running.deleted": [TORCH_LIB + "libtorch_cpu.so"]}, {"GC712"}),
    "compiled for once": ({"running.deleted": ["/tmp/tmpx/cuda_utils.so"]}, set()),
    "a toolkit's library": (
        {"running.libraries.2.path": "/usr/local/cuda/lib64/libcudart.so.12"},
        {"GC713"},
    ),
    "two of one": (
        {"running.libraries.3.path": VENV + "/cupy/.data/lib/libcudart.so.12"},
        {"GC713"},
    ),
    "another major version": (
        {"running.libraries.3.path": VENV + "/nvidia/cu13/lib/libcudart.so.13"},
        set(),
    ),
    "no torch in it": (
        {"running.libraries": [{"path": "/usr/local/cuda/lib64/libcudart.so.12"}]},
        set(),
    ),
    "conda's own": (
        {
            "running.libraries": [
                {"path": "/opt/conda/lib/python3.11/site-packages/torch/lib/libtorch_cpu.so"},
                {"path": "/opt/conda/lib/libcudart.so.12"},
            ]
        },
        set(),
    ),
    "a variable of before": ({"running.variables.LD_PRELOAD": "/x.so"}, {"GC714"}),
    "a variable of now": ({"running.spec_variables.OMP_NUM_THREADS": "2"}, {"GC714"}),
    "another PATH": ({"running.variables.PATH": "/bin"}, set()),
    "another Python": ({"running.spec_python": "/usr/bin/python3"}, {"GC714"}),
    "started through a program": (
        {"running.spec_variables": None, "running.spec_python": None},
        set(),
    ),
    "hidden too late": ({"asked.variables.CUDA_VISIBLE_DEVICES": "-1"}, {"GC721"}),
    "emptied too late": ({"asked.variables.CUDA_VISIBLE_DEVICES": ""}, {"GC721"}),
    "hidden before CUDA": (
        {"asked.variables.CUDA_VISIBLE_DEVICES": "-1", "asked.torch.initialized": False},
        set(),
    ),
    "set in time": ({"asked.variables.CUDA_VISIBLE_DEVICES": "0"}, set()),
    "an assertion on the card": (
        {"asked.torch.devices.0.error": "CUDA error: device-side assert triggered"},
        {"GC722"},
    ),
    "an assertion it tells of": (
        {"asked.last_error": {"type": "X", "text": "CUDA error: device-side assert triggered"}},
        {"GC722"},
    ),
    "another error": ({"asked.last_error": {"type": "ValueError", "text": ""}}, set()),
    "its own tensors": ({**OOM, "asked.torch.devices.0.allocated": 38 * GIB}, {"GC723"}),
    "ran out, and made room": (OOM, set()),
    "in pieces": ({**OOM, "asked.torch.devices.0.unusable": 4 * GIB}, {"GC724"}),
    "in pieces, never out": ({"asked.torch.devices.0.unusable": 4 * GIB}, set()),
    "in pieces, though it may grow them": (
        {
            **OOM,
            "asked.torch.devices.0.unusable": 4 * GIB,
            "asked.variables.PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:True",
        },
        set(),
    ),
    "benchmark": ({"asked.torch.benchmark": True}, {"GC725"}),
    "benchmark on the CPU": (
        {"asked.torch.benchmark": True, "asked.torch.initialized": False},
        set(),
    ),
    "another kernel": ({"kernels.kernels.1": kernel("b.ipynb", 50, 5 * GIB)}, {"GC731"}),
    "another kernel holds most": ({"kernels.kernels.1": kernel("b", 50, 30 * GIB)}, {"GC732"}),
    "a small one": ({"kernels.kernels.1": kernel("b.ipynb", 50, 300 * 2**20)}, set()),
    "a busy one": ({"kernels.kernels.1": kernel("b.ipynb", 50, None)}, {"GC731"}),
    "a program": (
        {"kernels.programs": [{"pid": 60, "parent": 1, "command": "python a.py"}]},
        {"GC733"},
    ),
    "a program of a terminal": (
        {"kernels.programs": [{"pid": 60, "parent": 33, "command": "python a.py"}]},
        set(),
    ),
    "a run": (
        {"kernels.programs": [{"pid": 60, "parent": 1, "command": "python /x/torchrun a.py"}]},
        set(),
    ),
}


def ill(changes: dict[str, Any]) -> dict[str, Any]:
    body = running()
    for path, value in copy.deepcopy(changes).items():
        if path == "kernels.kernels.1":
            body["kernels"]["kernels"].append(value)
        elif "." in path:
            change(body, path, value)
        else:
            body[path] = value
    return body


@pytest.mark.parametrize("name", CASES)
def test_each_illness_gives_its_code_and_no_other(name: str) -> None:
    changes, codes = CASES[name]
    assert set(findings_of(ill(changes))) == codes


def test_devices_that_were_shown_too_late() -> None:
    body = ill({"nvml.count": 2, "running.variables.CUDA_VISIBLE_DEVICES": "0"})
    assert findings_of(body)["GC721"].evidence == (
        "CUDA_VISIBLE_DEVICES: '0' at the start, not set now; CUDA uses 1 devices",
    )


def test_a_busy_kernels_other_checks_are_not_taken_for_passed_and_nothing_is_degraded() -> None:
    body = ill({"asked": {"asked": False, "why": "busy"}})
    assert verdict(findings_of(body).values()) == "advice"
    states = {each.check.name: each.state for each in outcomes_of(body)}
    assert states["gpu_still_works_for_it"] == states["its_memory_is_enough"] == "unexamined"
    assert states["loaded_libraries_are_torchs"] == "passed"


def test_what_is_said_names_packages_notebooks_and_amounts() -> None:
    body = ill({"asked.modules.torch.version": "2.8.0", "running.executable_deleted": True})
    body["kernels"]["kernels"] += [kernel("b.ipynb", 50, 5 * GIB), kernel("", 60, None)]
    found = findings_of(body)
    assert found["GC711"].params == {"packages": "torch 2.8.0"}
    assert "2.9.1+cu128" in found["GC711"].evidence[0]
    assert found["GC712"].params == {"files": "/usr/bin/python3.11"}
    assert found["GC731"].params == {
        "memory": "≥ 5.0 GiB",
        "kernels": "b.ipynb, python3 (00000060)",
    }
    assert "5.0 GiB, idle, process 50" in found["GC731"].evidence[0]


def test_the_hosts_word_on_a_process_counts_more_than_the_kernels_own() -> None:
    body = ill({"kernels.kernels.1": kernel("b.ipynb", 50, None)})
    own = {"holder": "own", "processes": 1, "memory_bytes": 30 * GIB, "pid": 51}
    body["host"]["devices"][0]["holders"] += [own, {**own, "pid": None}]
    assert findings_of(body)["GC732"].params == {"memory": "30.0 GiB", "kernels": "b.ipynb"}


def test_before_a_new_kernel_all_that_run_are_others() -> None:
    body = with_gpu()
    body["kernels"] = {"asked": True, "kernels": [kernel("a.ipynb", 40, 3 * GIB)], "programs": []}
    assert set(findings_of(body)) == {"GC731"}


def test_where_no_kernel_is_meant_nothing_is_said_of_one() -> None:
    states = {each.check.name: each.state for each in outcomes_of(NO_GPU)}
    assert states["kernel_runs"] == states["gpu_still_works_for_it"] == "passed"


json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["asked", "torch", "devices", "modules", "state", "why", "pid", "x"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=6,
)
any_facts = st.dictionaries(
    st.sampled_from(["asked", "why", "state", "modules", "torch", "variables", "libraries"])
    | st.sampled_from(["deleted", "kernels", "programs", "spec_variables", "last_error"]),
    json_like,
)


@given(any_facts, any_facts, any_facts)
def test_whatever_a_kernel_says_no_check_fails(
    process: dict[str, Any], said: dict[str, Any], kernels: dict[str, Any]
) -> None:
    body = running()
    body["running"] |= process
    body["asked"] |= said
    body["kernels"] |= kernels
    outcomes = advance(OF_RUNNING, facts_of(body), {})
    assert len(outcomes) == len(OF_RUNNING)
    assert not [outcome.error for outcome in outcomes if outcome.error]
