"""torch that cannot be imported, or is not whole."""

from __future__ import annotations

from breakages import CRASHED, CULPRIT, HUNG, Case, failed_import, torch_says

CASES: list[Case] = [
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
]
