"""Ranks that meet, or fail in the way that STAND_IN_TORCH's "rank" says: "hang", "part" (only the
second hangs), "error TEXT", "p2p" (unless NCCL_P2P_DISABLE is set), "missing", "wrong".
"""

from __future__ import annotations

import os
import sys
import time

from . import _TOLD

_HOW = _TOLD.get("rank", "")


def is_available():
    return True


def is_gloo_available():
    return _HOW != "missing"


def init_process_group(backend, init_method, rank, world_size, timeout):
    path = init_method[len("file://") :]
    mark = os.environ.get("STAND_IN_RANKS")
    if mark:
        with open(f"{mark}.{rank}", "w") as stream:
            stream.write(str(os.getpid()))
    with open(f"{path}.{rank}", "w") as stream:
        stream.write("here")
    nccl_only = _HOW.startswith("nccl ")
    how = _HOW[5:] if nccl_only else _HOW
    if nccl_only and backend != "nccl":
        how = ""
    if how == "p2p" and os.environ.get("NCCL_P2P_DISABLE") != "1":
        how = "hang"
    if how == "hang" or (how == "part" and rank == 1):
        print("NCCL WARN waiting", file=sys.stderr)
        sys.stderr.flush()
        time.sleep(600)
    if how.startswith("error "):
        raise RuntimeError(how[6:])
    if how == "crash" and rank == 1:
        os.abort()
    while not os.path.exists(f"{path}.{1 - rank}"):
        time.sleep(0.01)


def all_reduce(tensor):
    tensor.fill_(4.0 if _HOW == "wrong" else 3.0)
    time.sleep(0.001)


def barrier():
    pass
