"""Variables that programs cannot use."""

from __future__ import annotations

from typing import Any

from breakages import CRASHED, NO_PYTHON, Case, visible


def _set(**variables: str) -> list[tuple[str, Any]]:
    return [(f"environment.variables.{name}", value) for name, value in variables.items()]


_NO_START: list[tuple[str, Any]] = [
    ("python", CRASHED),
    *((name, NO_PYTHON) for name in ("packages", "ipykernel", "torch", "extensions")),
]

CASES: list[Case] = [
    (
        "PYTHONHOME",
        [*_set(PYTHONHOME="/gone"), *_NO_START, ("start_variables.culprits", ["PYTHONHOME"])],
        "GC221",
    ),
    ("a rank without a run", _set(LOCAL_RANK="3", WORLD_SIZE="4"), "GC222"),
    ("one card too many", visible("0,1"), "GC223"),
    ("a card and junk", visible("0,junk"), "GC223"),
    (
        "an allocator that torch does not know",
        [
            *_set(PYTORCH_CUDA_ALLOC_CONF="max_split:1"),
            (
                "torch.torch.allocator",
                {"error": {"type": "RuntimeError", "message": "Unrecognized key 'max_split'"}},
            ),
        ],
        "GC224",
    ),
    ("every call waits", _set(CUDA_LAUNCH_BLOCKING="1"), "GC225"),
    ("threads that are no number", _set(OMP_NUM_THREADS="many"), "GC226"),
    ("no thread", _set(OMP_NUM_THREADS="0"), "GC226"),
    ("architectures that are none", _set(TORCH_CUDA_ARCH_LIST="sm_80"), "GC227"),
    (
        "a bundle of certificates that is gone",
        [
            (
                "resources.missing_paths",
                [{"variable": "SSL_CERT_FILE", "path": "/gone/ca.pem"}],
            )
        ],
        "GC228",
    ),
]
