"""What could not be examined."""

from __future__ import annotations

from breakages import CRASHED, HUNG, NO_PYTHON, NO_ROOM, Case

CASES: list[Case] = [
    ("packages take too long", [("packages", HUNG)], "GC901"),
    ("packages without an answer", [("packages", {})], "GC901"),
    ("system crashes", [("system", CRASHED)], "GC902"),
    ("resources crash", [("resources", CRASHED)], "GC902"),
    (
        "a disk that cannot be asked",
        [("resources.filesystems.home", {"path": "/home/jovyan", "error": "[Errno 107] not conn"})],
        "GC902",
    ),
    (
        "no room for a process",
        [
            *((name, NO_ROOM) for name in ("system", "resources", "nvml", "libcuda", "python")),
            *((name, NO_PYTHON) for name in ("packages", "ipykernel", "torch")),
        ],
        "GC903",
    ),
    (
        "no room any more for torch",
        [("torch", NO_ROOM), ("packages", NO_ROOM)],
        "GC903",
    ),
]
