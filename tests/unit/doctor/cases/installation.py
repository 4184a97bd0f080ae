"""What is installed and cannot be read, written, imported."""

from __future__ import annotations

from typing import Any

from bodies import VENV
from breakages import Case

_FOLDER = {"directory": VENV, "base": False, "writable": True, "strays": [], "distributions": []}


def _extension(name: str = "mine", **said: Any) -> list[tuple[str, Any]]:
    """A package that needs torch, and what importing it gave."""
    entry = {"name": name, "version": "1.0", "modules": [name], "needs": ["torch"]}
    return [
        ("packages.directories.0", {**_FOLDER, "distributions": [entry]}),
        ("extensions.modules", [{"module": name, "ok": False, "said": "", **said}]),
    ]


def _error(message: str, kind: str = "ImportError") -> dict[str, Any]:
    return {"error": {"type": kind, "message": message}}


CASES: list[Case] = [
    (
        "OpenCV without libGL",
        _extension(
            "cv2", **_error("libGL.so.1: cannot open shared object file: No such file or directory")
        ),
        "GC331",
    ),
    (
        "a package for CUDA 13",
        _extension(**_error("libcudart.so.13: cannot open shared object file: No such file")),
        "GC331",
    ),
    (
        "an extension for another torch",
        _extension(**_error("mine.so: undefined symbol: _ZN3c106detail14torchCheckFailEPKcS2_j")),
        "GC332",
    ),
    (
        "torchvision for another torch",
        _extension(**_error("operator torchvision::nms does not exist", "RuntimeError")),
        "GC332",
    ),
    (
        "a package for NumPy 1",
        _extension(**_error("numpy.core.multiarray failed to import")),
        "GC333",
    ),
    (
        "a package for NumPy 1 that only says so",
        _extension(
            **_error("", "SystemError"),
            said="A module that was compiled using NumPy 1.x cannot be run in NumPy 2.4.6",
        ),
        "GC333",
    ),
    (
        "NumPy itself is unusable, and so is what needs it",
        [
            *_extension(**_error("numpy.core.multiarray failed to import")),
            ("torch.torch.numpy", _error("Numpy is not available", "RuntimeError")),
        ],
        "GC323",
    ),
    ("a package that crashes", _extension(ended="ended by signal 11"), "GC334"),
    ("a package that is wrong", _extension(**_error("no", "ValueError")), "GC334"),
    (
        "a package that was not tried",
        [*_extension(), ("extensions.modules", [])],
        "GC901",
    ),
    (
        "site-packages that cannot be read",
        [
            (
                "packages.directories.0",
                {**_FOLDER, "writable": False, "error": "[Errno 13] Permission denied"},
            )
        ],
        "GC335",
    ),
    (
        "a library of the image is missing",
        [("reference.lock.nvidia-cublas-cu12", "12.8.4.1")],
        "GC336",
    ),
    ("no pip", [("packages.pip.module", False)], "GC337"),
    (
        "no pip in a Python that takes no packages",
        [
            ("packages.pip.module", False),
            ("kernelspec.name", "system"),
            ("python.prefix", "/usr"),
        ],
        "GC206",
    ),
    (
        "site-packages that cannot be written",
        [("packages.directories.0", {**_FOLDER, "writable": False})],
        "GC338",
    ),
    (
        "conda's torch beside pip's",
        [
            ("packages.conda", {"torch": "2.1.0"}),
            (
                "packages.directories.0",
                {
                    **_FOLDER,
                    "distributions": [{"name": "torch", "version": "2.9.1", "modules": ["torch"]}],
                },
            ),
        ],
        "GC306",
    ),
    (
        "a library of CUDA from elsewhere",
        [("torch.torch.libraries", {"libcudart.so.12": "/usr/local/cuda/lib64/libcudart.so.12"})],
        "GC324",
    ),
]
