"""Why two ranks could not exchange data, in plain words. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..facts import Facts, ProbeResult

# the first that fits what the ranks said; English, as evidence is
_WORDS: tuple[tuple[str, str], ...] = (
    (r"out of memory|OutOfMemory|ALLOC_FAILED", "there was not enough free memory"),
    (r"shm/nccl-|while creating shared memory|No space left", "shared memory or a disk is full"),
    (r"Duplicate GPU", "both ranks were given one GPU"),
    (r"illegal memory access|unspecified launch failure|Xid|uncorrectable ECC", "a GPU failed"),
    (r"peer access|P2P|p2p|cudaErrorPeerAccess", "the GPUs cannot reach each other's memory"),
    (r"unhandled cuda error", "CUDA failed under NCCL"),
    (r"unhandled system error|ncclSystemError", "a system call failed under NCCL"),
    (r"ncclInternalError|internal error", "NCCL failed"),
    (r"nvlink|NVLink|NVLS", "NVLink failed"),
    (r"Address already in use|EADDRINUSE", "a network port was in use"),
    (r"Unable to find (?:interface|address)|No such device|ifname", "there is no interface lo"),
    (r"[Cc]onnection (?:reset|refused|closed)|Broken pipe", "the connection broke"),
    (r"[Tt]imed? ?out|timeout", "the ranks waited for each other in vain"),
)


def problem_of(backend: str, ended: Sequence[ProbeResult]) -> tuple[str, str]:
    """The problem in a clause, and the last lines of what the ranks said (stderr or error)."""
    facts = Facts({result.name: result for result in ended})
    said: list[str] = []
    kinds: list[str] = []
    killed = False
    for name in facts.results:
        failure = facts.failure(name)
        if failure is not None:
            kinds.append(failure.kind)
            killed = killed or failure.exit_code == -9
            said.append(failure.stderr)
            continue
        if facts.text(name, "missing"):
            return f"this torch has no {backend}", ""
        kind, message = (facts.text(name, "error", key) or "" for key in ("type", "message"))
        if kind == "WrongSum":
            return "the sum was wrong", message
        if message or kind:
            said.append(f"{kind}: {message}")
    text = "\n".join(said)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    tail = "\n".join(lines[-6:])[-2000:]
    for pattern, words in _WORDS:
        if re.search(pattern, text):
            return words, tail
    if "timeout" in kinds and "torch is imported" not in text:
        return "the ranks did not start in time: the server is very busy", tail
    if "timeout" in kinds:
        return "the ranks did not come to an end", tail
    if killed:
        return "a rank was killed, as happens when memory runs out", tail
    if "crashed" in kinds:
        return "a rank crashed", tail
    return "a rank failed", tail
