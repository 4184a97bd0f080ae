"""Limits, and folders that cannot be used."""

from __future__ import annotations

from typing import Any

from bodies import GIB
from breakages import Case


def _cache(**facts: Any) -> list[tuple[str, Any]]:
    healthy = {
        "variable": "HF_HOME",
        "path": "/home/jovyan/hf",
        "exists": True,
        "writable": True,
        "in_memory": False,
        "bytes": 100 * GIB,
        "free_bytes": 60 * GIB,
    }
    return [("resources.caches", [{**healthy, **facts}])]


def _folder(name: str, **facts: Any) -> list[tuple[str, Any]]:
    return [(f"resources.filesystems.{name}.{key}", value) for key, value in facts.items()]


CASES: list[Case] = [
    ("more threads than CPUs", [("torch.torch.threads", 16)], "GC421"),
    (
        "a quota of half a CPU",
        [("resources.cpu.quota", 0.5), ("torch.torch.threads", 4)],
        "GC421",
    ),
    ("few processes", [("resources.pids", {"limit": 100, "used": 20})], "GC422"),
    ("hardly a process left", [("resources.pids", {"limit": 4096, "used": 4090})], "GC422"),
    ("few processes by the shell", [("resources.limits.nproc", 64)], "GC422"),
    ("a work folder of another", _folder("work", writable=False), "GC423"),
    ("a home that is read-only", _folder("home", writable=False, read_only=True), "GC423"),
    (
        "no /tmp",
        [("resources.filesystems.tmp", {"path": "/tmp", "error": "[Errno 2] No such file"})],
        "GC423",
    ),
    ("downloads into memory", _cache(path="/dev/shm/hf", in_memory=True), "GC424"),
    ("downloads to a small disk", _cache(bytes=GIB), "GC424"),
    ("a cache that cannot be written", _cache(writable=False), "GC425"),
    ("InfiniBand", [("resources.infiniband", ["uverbs0"])], "GC426"),
    (
        "InfiniBand that NCCL does without",
        [
            ("resources.infiniband", ["uverbs0"]),
            ("environment.variables.NCCL_IB_DISABLE", "1"),
        ],
        set(),
    ),
    ("little address space", [("resources.limits.as", 8 * GIB)], "GC427"),
    ("little time", [("resources.limits.cpu", 60)], "GC427"),
]
