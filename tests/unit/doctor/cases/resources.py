"""Space, memory and tools."""

from __future__ import annotations

from breakages import HUNG, Case

CASES: list[Case] = [
    (
        "64 MB /dev/shm",
        [
            ("resources.filesystems.shm.bytes", 64 * 2**20),
            ("resources.filesystems.shm.free_bytes", 64 * 2**20),
        ],
        "GC401",
    ),
    (
        "300 MB /dev/shm",
        [
            ("resources.filesystems.shm.bytes", 300 * 2**20),
            ("resources.filesystems.shm.free_bytes", 300 * 2**20),
        ],
        "GC413",
    ),
    ("/dev/shm full", [("resources.filesystems.shm.free_bytes", 4096)], "GC402"),
    (
        "/dev/shm leftovers",
        [("resources.shm_leftovers", [{"name": "nccl-x", "bytes": 9}])],
        "GC403",
    ),
    ("killed for memory", [("resources.memory.oom_kills", 2)], "GC404"),
    ("disk full", [("resources.filesystems.work.free_bytes", 2**20)], "GC405"),
    ("disk nearly full", [("resources.filesystems.work.free_bytes", 500 * 2**20)], "GC406"),
    ("no inodes", [("resources.filesystems.work.free_inodes", 0)], "GC407"),
    ("no gcc", [("resources.compiler", None)], "GC408"),
    ("no Python.h", [("python.python_h", False)], "GC409"),
    ("few open files", [("resources.limits.nofile", 1024)], "GC410"),
    ("orphans", [("resources.orphan_ranks", [{"pid": 77, "command": "python train.py"}])], "GC411"),
    ("storage hangs", [("resources", HUNG)], "GC412"),
]
