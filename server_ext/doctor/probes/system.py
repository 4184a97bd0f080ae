"""Device nodes, the driver's version, libraries that LD_LIBRARY_PATH or LD_PRELOAD put first."""

from __future__ import annotations

import errno
import os
import re

_CUDA_LIBRARY = re.compile(
    r"^lib(cuda|cudart|cublas|cublasLt|cudnn\w*|nvJitLink|nvrtc|nccl|cusparse|cusparseLt|cusolver"
    r"|cufft|curand|nvidia-ml|torch|torch_cuda|torch_cpu|c10|c10_cuda)\.so(\.|$)"
)
_NODE = re.compile(r"^nvidia[0-9]+$")
_MOST = 200


def collect(arguments):
    """{nodes: {name: {open: "ok"|errno name}}, driver, driver_text, library_path, preload}."""
    return {
        "nodes": nodes(),
        "wsl": os.path.exists("/dev/dxg"),
        "caps": _listdir("/dev/nvidia-caps"),
        "driver": driver(),
        "library_path": library_path(os.environ.get("LD_LIBRARY_PATH", "")),
        "preload": preload(os.environ.get("LD_PRELOAD", "")),
    }


def nodes():
    """NVIDIA's device nodes and what opening each one gives."""
    found = {}
    for name in _listdir("/dev"):
        if _NODE.match(name) or name in ("nvidiactl", "nvidia-uvm"):
            found[name] = _open("/dev/" + name)
    return found


def _open(path):
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK))
    except OSError as error:
        return {"open": errno.errorcode.get(error.errno, str(error.errno))}
    return {"open": "ok"}


def driver():
    """The kernel module's version ("570.86.15"), or {"error"}."""
    try:
        with open("/proc/driver/nvidia/version") as stream:
            text = stream.read(2000)
    except OSError as error:
        return {"error": str(error)}
    found = re.search(r"Kernel Module.*?\s(\d+\.\d+(?:\.\d+)?)\s", text)
    return found.group(1) if found else {"error": "unreadable: " + text[:200]}


def library_path(value):
    """[{directory, libraries}] of CUDA and torch libraries that LD_LIBRARY_PATH puts first."""
    found = []
    for directory in value.split(":"):
        if directory:
            names = [name for name in _listdir(directory) if _CUDA_LIBRARY.match(name)]
            if names:
                found.append({"directory": directory, "libraries": names[:_MOST]})
    return found


def preload(value):
    """[{library, exists}] of LD_PRELOAD."""
    return [
        {"library": name, "exists": os.path.exists(name) if "/" in name else None}
        for name in re.split(r"[ :]+", value)
        if name
    ]


def _listdir(path):
    try:
        return sorted(os.listdir(path))
    except OSError:
        return []
