"""A kernel whose Python and ipykernel are well, and that does not start."""

from __future__ import annotations

from typing import Any

from bodies import DELETE, VENV
from breakages import CRASHED, CULPRIT, NO_PYTHON, Case, failed_import

FOLDER = "/home/jovyan/work"
START = "/home/jovyan/.ipython/profile_default/startup/00-mine.py"


def start(answered: bool = False, folder: str = FOLDER, **more: Any) -> dict[str, Any]:
    """What the probe tells of one folder."""
    tried = {"folder": folder, "answered": answered, "ended": "ended with status 3", "said": "oops"}
    return {"folders": [tried], **more}


def _blamed(probe: str, *names: str) -> list[tuple[str, Any]]:
    return [
        (probe, failed_import("DeprecationWarning", "invalid escape sequence")),
        (f"{probe}_culprit.variables", list(names)),
    ]


_NOT_STARTED: list[tuple[str, Any]] = [
    (name, NO_PYTHON) for name in ("python", "packages", "ipykernel", "torch", "extensions")
]
_IN_PYTHONPATH = [
    ("environment.variables.PYTHONPATH", f"{VENV}/:/x"),
    ("ipykernel", failed_import("RuntimeError", "mine")),
    ("ipykernel_culprit", CULPRIT),
]

CASES: list[Case] = [
    ("a variable in the way of kernels", _blamed("ipykernel", "PYTHONWARNINGS"), "GC231"),
    ("modules that PYTHONPATH put in the way of kernels", _IN_PYTHONPATH, "GC231"),
    (
        "a variable in the way of a kernel that crashes",
        [("ipykernel", CRASHED), ("ipykernel_culprit.variables", ["LD_PRELOAD"])],
        "GC231",
    ),
    (
        "start-up code of IPython's",
        [
            ("python.start_files", [START]),
            ("start", start(without_files=True)),
        ],
        "GC232",
    ),
    (
        "modules of one's own where notebooks are",
        [
            ("python.shadows", ["re.py", "course/torch.py"]),
            ("start", start(elsewhere=True)),
        ],
        # the file in the other folder keeps no kernel from starting, and is told all the same
        {"GC215", "GC233"},
    ),
    ("a command that ends at once", [("start", start(elsewhere=False))], "GC234"),
    (
        "start-up code that is not to blame",
        [
            ("python.start_files", [START]),
            ("start", start(without_files=False, elsewhere=False)),
        ],
        "GC234",
    ),
    (
        "a kernel.json without a command",
        [
            ("kernelspec.problems", ["argv is empty"]),
            ("kernelspec.is_python", False),
            ("kernelspec.python_exists", DELETE),
            *_NOT_STARTED,
        ],
        "GC235",
    ),
    (
        "a kernel.json with a number among its variables",
        [("kernelspec.problems", ["env: A is no text"])],
        "GC235",
    ),
    ("a variable in the way of torch", _blamed("torch", "TORCH_LOGS"), "GC341"),
    (
        "a variable with which torch hangs or crashes",
        [("torch", CRASHED), ("torch_culprit.variables", ["LD_PRELOAD"])],
        "GC341",
    ),
    (
        "a variable, where libraries say so themselves",
        [
            ("torch", failed_import("ImportError", "libx.so.1: undefined symbol: y")),
            ("torch_culprit.variables", ["LD_LIBRARY_PATH"]),
        ],
        "GC314",
    ),
]
