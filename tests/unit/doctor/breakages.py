"""What can go wrong, as changes to the facts of a healthy server (bodies.py)."""

from __future__ import annotations

from typing import Any

from bodies import DELETE, UUID, VENV, with_gpu

from server_ext.doctor.facts import Failure

# (what happened, changes to a healthy server with a GPU, the codes that must come, and no others)
Case = tuple[str, list[tuple[str, Any]], "str | set[str]"]

HUNG = Failure("timeout", "no answer within 5 s")
CRASHED = Failure("crashed", "ended by SIGSEGV", -11, "Fatal Python error: Segmentation fault")
NO_ROOM = Failure("not-started", "BlockingIOError: [Errno 11] Resource temporarily unavailable")
NO_PYTHON = Failure("not-started", "the kernel's Python does not start")
FOREIGN = {"index": 1, "error": {"code": 4, "text": "Insufficient Permissions"}}

CULPRIT = {
    "tried": [{"name": "typing_extensions", "version": "4.0.0"}],
    "culprits": [{"name": "typing_extensions", "version": "4.0.0", "directory": VENV}],
    "variables": [],
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
