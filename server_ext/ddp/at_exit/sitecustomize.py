"""Python imports this at the start of each process of a run, which finds it by PYTHONPATH.

PyTorch 2.9 may crash ("terminate called without an active exception", SIGABRT) where Python ends
while a thread of gloo still lets go of a tensor: pytorch/pytorch#190489. So a rank that used
torch.distributed waits for a moment before it ends, in which those threads get done.

torchrun itself writes down how it ended: whoever watches its run may be gone by then, and nobody
but its parent could ask. An agent that was killed writes nothing.

A folder of its own, so that nothing else of ours can be imported by it; for any Python, so it
imports little.

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


class _ExitCode:
    """Remembers what Python is asked to end with, which nothing tells at its end."""

    def __init__(self, path: str) -> None:
        self._path, self._code, self._exit = path, 0, sys.exit
        sys.exit = self.exit  # type: ignore[assignment]
        atexit.register(self.write)

    def exit(self, status: str | int | None = None) -> None:
        """In the place of sys.exit."""
        self._code = 0 if status is None else status if isinstance(status, int) else 1
        self._exit(status)

    def write(self) -> None:
        """Whole or not at all; a volume that is full has no room for it."""
        failed = getattr(sys, "last_value", None) is not None  # nobody caught it
        temporary = f"{self._path}.{os.getpid()}"
        try:
            with open(temporary, "x") as file:
                file.write(str(1 if failed else self._code))
            os.replace(temporary, self._path)
        except OSError:
            pass


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


_path = os.environ.pop("GPUCAMP_DDP_EXIT_CODE", "")  # a child of torchrun's must not write it
if "RANK" in os.environ:  # torchrun itself has none
    # before what the script registers, so that it runs after all that
    atexit.register(_let_threads_finish)
elif _path:
    _ExitCode(_path)
_import_the_next()
