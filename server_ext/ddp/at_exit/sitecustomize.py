"""Python imports this at the start of each process of a run, which finds it by PYTHONPATH.

PyTorch 2.9 may crash ("terminate called without an active exception", SIGABRT) where Python ends
while a thread of gloo still lets go of a tensor: pytorch/pytorch#190489. So a rank that used
torch.distributed waits for a moment before it ends, in which those threads get done. A folder of
its own, so that nothing else of ours can be imported by it; for any Python, so it imports little.

Guarantee: the environment's own sitecustomize is imported as if this were not there.
"""

from __future__ import annotations

import atexit
import os
import sys

SECONDS = 0.05


def _let_threads_finish() -> None:
    if "torch.distributed" in sys.modules:
        import time

        time.sleep(SECONDS)


def _import_the_next() -> None:
    """The sitecustomize that Python would have found."""
    own = os.path.dirname(os.path.abspath(__file__))
    this = sys.modules.pop("sitecustomize", None)
    path = sys.path[:]
    sys.path[:] = [folder for folder in path if os.path.abspath(folder or ".") != own]
    try:
        import sitecustomize  # noqa: F401 - for what it does
    except ImportError as error:
        if error.name != "sitecustomize":
            raise
    finally:
        # what the other did to the path stays; ours is gone from it: children have PYTHONPATH
        if this is not None:
            sys.modules.setdefault("sitecustomize", this)


if "RANK" in os.environ:  # torchrun itself has none
    # before what the script registers, so that it runs after all that
    atexit.register(_let_threads_finish)
_import_the_next()
