"""The kernel that does not start."""

from __future__ import annotations

from bodies import DELETE
from breakages import CRASHED, CULPRIT, HUNG, Case, failed_import

from server_ext.doctor.facts import Failure

CASES: list[Case] = [
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
        "the Python of an own kernel deleted",
        [
            ("kernelspec.name", "mine"),
            ("kernelspec.executable", "/home/jovyan/work/mine/bin/python"),
            ("kernelspec.python_exists", False),
            ("kernelspec.python_problem", "/home/jovyan/work/mine/bin/python does not exist"),
            ("python", Failure("not-started", "the kernel has no Python")),
            ("packages", Failure("not-started", "the kernel has no Python")),
            ("torch", Failure("not-started", "the kernel has no Python")),
            ("ipykernel", Failure("not-started", "the kernel has no Python")),
        ],
        "GC209",
    ),
    (
        "an own kernel without ipykernel",
        [
            ("kernelspec.name", "mine"),
            ("kernelspec.executable", "/home/jovyan/my work/bin/python"),
            ("python.prefix", "/home/jovyan/my work"),
            (
                "ipykernel",
                failed_import("ModuleNotFoundError", "No module named 'ipykernel'", "ipykernel"),
            ),
        ],
        {"GC206", "GC210"},
    ),
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
]
