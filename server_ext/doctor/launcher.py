"""The console script `gpucamp-doctor`: out of reach of the user's Python settings.

Guarantees: PYTHONPATH and its like, which may be what is wrong, do not touch the doctor's own
Python, and still reach the kernel that it examines. Imports nothing that they could replace.
"""

from __future__ import annotations

import os
import signal
import sys

# what would change an interpreter's imports or start; -I ignores them all
_TOUCHING = ("PYTHONPATH", "PYTHONHOME", "PYTHONUSERBASE", "PYTHONINSPECT", "PYTHONPLATLIBDIR")


def main() -> int:
    """Runs the command line; replaces this process by an isolated one where that is needed."""
    if not sys.flags.isolated and any(os.environ.get(name) for name in _TOUCHING):
        arguments = [sys.executable, "-I", "-m", "server_ext.doctor.command_line", *sys.argv[1:]]
        os.execv(sys.executable, arguments)  # noqa: S606 - this very interpreter, no shell
    # imported late: what comes before this line has touched nothing of the user's
    from .head_start import begin

    # its process ends with this one
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    early = begin(sys.argv[1:], os.environ)
    try:
        from .command_line import main as command_line

        return command_line(early=early)
    finally:
        if early is not None:
            early.end()
