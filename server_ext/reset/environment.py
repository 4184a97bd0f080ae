"""Where the kernel environment is."""

from __future__ import annotations

import os
from pathlib import Path

from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel

from ..ddp.machine import KERNEL


def environment_prefix(specs: KernelSpecManager) -> Path:
    """The folder of the environment that "Python 3" names, whether it works, or is there, or not.
    Blocking I/O.
    """
    try:
        python = str(specs.get_kernel_spec(KERNEL).argv[0])
    except (NoSuchKernel, IndexError, OSError, ValueError):
        python = ""
    return Path(python).parent.parent if os.path.isabs(python) else Path.home() / ".venv"
