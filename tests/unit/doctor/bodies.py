"""Facts of healthy servers, and how to make them ill."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from server_ext.doctor.checks import ALL_CHECKS
from server_ext.doctor.checks.extensions import candidates
from server_ext.doctor.facts import Facts, Failure, ProbeResult
from server_ext.doctor.findings import Finding
from server_ext.doctor.report import Outcome, advance

UUID = "GPU-8932f937-d72c-4106-c12f-20bd9faed9f6"
PRACTICE_UUID = "GPU-5ca1ab1e-0000-4000-8000-000000000000"
GIB = 2**30
VENV = "/home/jovyan/.venv/lib/python3.11/site-packages"
BASE = "/opt/gpucamp/base/lib/python3.11/site-packages"


def _filesystem(path: str, device: int) -> dict[str, Any]:
    return {
        "path": path,
        "writable": True,
        "read_only": False,
        "bytes": 100 * GIB,
        "free_bytes": 60 * GIB,
        "inodes": 10**6,
        "free_inodes": 9 * 10**5,
        "device": device,
    }


NO_GPU: dict[str, dict[str, Any]] = {
    "kernelspec": {
        "name": "python3",
        "found": True,
        "argv": [
            "/home/jovyan/.venv/bin/python",
            "-m",
            "ipykernel_launcher",
            "-f",
            "{connection_file}",
        ],
        "problems": [],
        "folder": "/opt/gpucamp/base/share/jupyter/kernels/python3",
        "is_python": True,
        "executable": "/home/jovyan/.venv/bin/python",
        "python_exists": True,
        "python_problem": "",
        "secrets": [],
    },
    "environment": {
        "variables": {
            "GPUCAMP_LEASE": "lease-1",
            "GPUCAMP_DEVICES": "",
            "GPUCAMP_SIMULATED": "0",
            "NVIDIA_VISIBLE_DEVICES": "void",
            "PYTHONNOUSERSITE": "1",
        }
    },
    "reference": {
        "lock": {
            "torch": "2.9.1",
            "torchvision": "0.24.1",
            "torchaudio": "2.9.1",
            "triton": "3.5.1",
            "numpy": "2.4.6",
            "typing-extensions": "4.16.0",
            "traitlets": "5.14.3",
            "nvidia-cudnn-cu12": "9.10.2.21",
        },
        "versions": {"stack": {"torch": "2.9.1", "cuda": "12.8", "cudnn": 91002}},
        "environment_prefix": "/home/jovyan/.venv",
    },
    "python": {
        "executable": "/home/jovyan/.venv/bin/python",
        "version": "3.11.2",
        "prefix": "/home/jovyan/.venv",
        "base_prefix": "/usr",
        "path": ["/usr/lib/python3.11", VENV, BASE],
        "user_site": {"enabled": False, "path": "/home/jovyan/.local/x", "on_path": False},
        "python_h": True,
        "folder": "/home/jovyan/work",
        "shadows": [],
        "start_files": [],
        "home": {"variable": "/home/jovyan", "account": "/home/jovyan"},
        "locale": [],
    },
    "start": {"asked": False},
    "start_variables": {"culprits": []},
    "packages": {
        "conda": {},
        "pip": {"module": True, "command": True},
        "directories": [
            {
                "directory": VENV,
                "base": False,
                "writable": True,
                "distributions": [],
                "strays": [],
                "compiled_strays": [],
            },
            {
                "directory": BASE,
                "base": True,
                "writable": False,
                "distributions": [
                    {"name": "torch", "version": "2.9.1"},
                    {"name": "torchvision", "version": "0.24.1"},
                    {"name": "torchaudio", "version": "2.9.1"},
                    {"name": "triton", "version": "3.5.1"},
                    {"name": "numpy", "version": "2.4.6"},
                    {"name": "typing_extensions", "version": "4.16.0"},
                    {"name": "nvidia_cudnn_cu12", "version": "9.10.2.21"},
                ],
            },
        ],
    },
    "ipykernel": {"module": "ipykernel.kernelapp", "ok": True, "warnings": []},
    "ipykernel_culprit": {"tried": [], "culprits": [], "variables": []},
    "torch": {
        "module": "torch",
        "ok": True,
        "warnings": [],
        "torch": {
            "version": "2.9.1+cu128",
            "cuda": "12.8",
            "hip": None,
            "file": BASE + "/torch/__init__.py",
            "cudnn": 91002,
            "arch_flags": "sm_70 sm_75 sm_80 sm_86 sm_90 sm_100 sm_120",
            "available": False,
            "count": 0,
            "numpy": "ok",
            "numpy_installed": True,
            "threads": 4,
            "allocator": "unset",
            "init": {"error": {"type": "RuntimeError", "message": "Found no NVIDIA driver"}},
            "libraries": {},
        },
    },
    "torch_culprit": {"tried": [], "culprits": [], "variables": []},
    "extensions": {"modules": []},
    "network": {
        "clock": {"asked": True, "now": 1764165600.5, "hub": 1764165600.0},
        "made": 1763900000.0,
        "proxies": [],
        "logins": {"wandb": False},
    },
    "system": {
        "nodes": {},
        "wsl": False,
        "caps": [],
        "driver": {"error": "[Errno 2] No such file or directory"},
        "library_path": [],
        "preload": [],
    },
    "host": {"asked": False},
    "running": {"asked": False},
    "running_still": {"asked": False},
    "asked": {"asked": False},
    "kernels": {"asked": False},
    "nvml": {"library": {"error": "libnvidia-ml.so.1: cannot open shared object file"}},
    "libcuda": {"library": {"error": "libcuda.so.1: cannot open shared object file"}},
    "resources": {
        "filesystems": {
            "shm": {**_filesystem("/dev/shm", 1), "bytes": GIB, "free_bytes": GIB},
            "work": _filesystem("/home/jovyan/work", 2),
            "home": _filesystem("/home/jovyan", 2),
            "tmp": _filesystem("/tmp", 3),
        },
        "memory": {"limit_bytes": 8 * GIB, "used_bytes": GIB, "oom_kills": 0},
        "cpu": {"quota": 4.0, "usable": 16},
        "limits": {
            "nofile": 1048576,
            "nproc": -1,
            "memlock": 65536,
            "as": -1,
            "data": -1,
            "stack": 8 * 2**20,
            "fsize": -1,
            "cpu": -1,
        },
        "pids": {"limit": 4096, "used": 60},
        "infiniband": [],
        "missing_paths": [],
        "caches": [
            {
                "variable": "TORCHINDUCTOR_CACHE_DIR",
                "path": "/home/jovyan/.cache/torchinductor",
                "exists": False,
                "writable": True,
                "in_memory": False,
                "bytes": 100 * GIB,
                "free_bytes": 60 * GIB,
            }
        ],
        "compiler": "/usr/bin/gcc",
        "shm_leftovers": [],
        "orphan_ranks": [],
    },
}


def with_gpu() -> dict[str, dict[str, Any]]:
    """A healthy server with an A100."""
    body = copy.deepcopy(NO_GPU)
    body["environment"]["variables"] |= {
        "GPUCAMP_DEVICES": UUID,
        "NVIDIA_VISIBLE_DEVICES": UUID,
    }
    body["system"] |= {
        "nodes": {name: {"open": "ok"} for name in ("nvidia0", "nvidiactl", "nvidia-uvm")},
        "driver": "570.86.15",
    }
    body["nvml"] = {
        "library": {"path": "/usr/lib/x86_64-linux-gnu/libnvidia-ml.so.570.86.15"},
        "init": {"code": 0},
        "driver": "570.86.15",
        "cuda": 12080,
        "count": 1,
        "devices": [
            {
                "index": 0,
                "uuid": UUID,
                "name": "NVIDIA A100-SXM4-40GB",
                "compute_mode": 0,
                "memory": {"total": 40 * GIB, "used": GIB, "free": 39 * GIB},
                "utilization": 0,
                "recovery_action": 0,
                "memory_health": {
                    "uncorrected": 0,
                    "remapped_rows": {"pending": False, "failure": False},
                },
                "mig": {"enabled": False, "pending": False, "instances": []},
            }
        ],
    }
    body["host"] = {
        "asked": True,
        "looked_at": "2026-11-26T10:00:00+00:00",
        "missing_nodes": [],
        "devices": [
            {
                "uuid": UUID,
                "name": "NVIDIA A100-SXM4-40GB",
                "state": "healthy",
                "reason": "",
                "driver_version": "570.86.15",
                "cuda_version": "12.8",
                "compute_mode": "default",
                "simulated": False,
                "mig": False,
                "shared": False,
                "persistence": True,
                "memory_bytes": 40 * GIB,
                "memory_used_bytes": GIB,
                "xids": [],
                "holders": [
                    {"holder": "own", "pid": 23, "processes": 1, "memory_bytes": GIB},
                ],
            }
        ],
    }
    body["libcuda"] = {
        "library": {"path": "/usr/lib/x86_64-linux-gnu/libcuda.so.570.86.15"},
        "version": 12080,
        "init": {"code": 0},
        "count": 1,
    }
    torch = body["torch"]["torch"]
    del torch["init"]
    torch |= {
        "available": True,
        "count": 1,
        "devices": [
            {"index": 0, "name": "NVIDIA A100-SXM4-40GB", "capability": [8, 0], "add": 16.0}
        ],
    }
    return body


def practice() -> dict[str, dict[str, Any]]:
    """A healthy server with a simulated device."""
    body = copy.deepcopy(NO_GPU)
    body["environment"]["variables"] |= {
        "GPUCAMP_DEVICES": PRACTICE_UUID,
        "GPUCAMP_SIMULATED": "1",
        "NVIDIA_VISIBLE_DEVICES": PRACTICE_UUID,
        "LD_LIBRARY_PATH": "/opt/gpucamp/practice/lib",
    }
    body["system"]["library_path"] = [
        {"directory": "/opt/gpucamp/practice/lib", "libraries": ["libnvidia-ml.so.1"]}
    ]
    body["nvml"] = copy.deepcopy(with_gpu()["nvml"])
    body["nvml"]["devices"][0] |= {"uuid": PRACTICE_UUID, "name": "Simulated A100 (practice)"}
    body["torch"]["torch"]["count"] = 1  # torch asks NVML, which shows one
    return body


def change(body: dict[str, Any], path: str, value: Any) -> None:
    """Sets one fact: "probe.key.0.key"; DELETE removes it."""
    *keys, last = path.split(".")
    place: Any = body
    for key in keys:
        place = place[int(key)] if isinstance(place, list) else place.setdefault(key, {})
    if value is DELETE:
        del place[last]
    elif isinstance(place, list):
        place[int(last)] = value
    else:
        place[last] = value


class DELETE:
    """In the place of a value: the fact is not there."""


def tried(body: dict[str, Any]) -> None:
    """Whatever is worth a try was imported, and works."""
    modules = [item.module for item in candidates(facts_of(body))]
    body["extensions"] = {"modules": [{"module": name, "ok": True, "said": ""} for name in modules]}


def facts_of(body: Mapping[str, Any]) -> Facts:
    """A Failure in the place of a probe's facts is its failure."""
    results = {}
    for name, value in body.items():
        if isinstance(value, Failure):
            results[name] = ProbeResult(name, failure=value)
        else:
            results[name] = ProbeResult(name, value=value)
    return Facts(results)


def outcomes_of(body: Mapping[str, Any]) -> list[Outcome]:
    """What all checks say."""
    outcomes = advance(ALL_CHECKS, facts_of(body), {})
    assert not [outcome for outcome in outcomes if outcome.error]
    assert len(outcomes) == len(ALL_CHECKS)
    return outcomes


def findings_of(body: Mapping[str, Any]) -> dict[str, Finding]:
    """By code."""
    return {f.code.code: f for outcome in outcomes_of(body) for f in outcome.findings}


def package(
    body: dict[str, Any], name: str, version: str, modules: list[str] | None = None
) -> None:
    """Installs into the environment."""
    body["packages"]["directories"][0]["distributions"].append(
        {"name": name, "version": version, "modules": modules or [name]}
    )
