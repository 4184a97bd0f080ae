"""Starts the slowest probe before the command has loaded its own code.

`import torch` decides how long an examination takes, and loading the rest of `gpucamp-doctor` is a
tenth of that. Guarantees: what was started early counts only where it is, to the letter, what the
examination would start itself (`take`), so that a wrong guess costs time and never a wrong
report; `end` leaves no process behind. Imports nothing that takes time.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress

from .secret_variables import without_secrets

KERNEL = "python3"
PROBE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "probes", "run_probe.py")


class HeadStart:
    """One process that waits to be asked for. argv, env, cwd: as it was started; pid: also its
    process group; stdout, stderr: the ends of its pipes to read from.
    """

    def __init__(self, argv: Sequence[str], env: Mapping[str, str], cwd: str) -> None:
        """Starts it. Raises OSError, also when the program cannot be executed."""
        self.argv, self.env, self.cwd = list(argv), dict(env), cwd
        self.taken = False
        self.stdout, out = os.pipe()
        self.stderr, err = os.pipe()
        became, failed = os.pipe()  # closed by a successful exec
        try:
            self.pid = os.fork()
            if not self.pid:
                self._become(out, err, failed)
        except OSError:
            self._close(self.stdout, self.stderr, became)
            raise
        finally:
            self._close(out, err, failed)
        number = os.read(became, 16)
        self._close(became)
        if number:
            self.end()
            raise OSError(int(number), f"{argv[0]}: {os.strerror(int(number))}")

    def take(self, argv: Sequence[str], env: Mapping[str, str], cwd: str) -> bool:
        """Whether this is the process to start; once. If it is not, it is ended."""
        if self.taken:
            return False
        if (self.argv, self.env, self.cwd) == (list(argv), dict(env), cwd):
            self.taken = True
            return True
        self.end()
        return False

    def end(self) -> None:
        """Ends a process that nobody has taken; idempotent."""
        if self.taken:
            return
        self.taken = True
        with suppress(OSError):
            os.killpg(self.pid, signal.SIGKILL)
        # it may not have a group of its own yet
        with suppress(OSError):
            os.kill(self.pid, signal.SIGKILL)
        with suppress(OSError):  # one that is stuck in a driver is not waited for
            os.waitpid(self.pid, os.WNOHANG)
        self._close(self.stdout, self.stderr)

    def _become(self, out: int, err: int, failed: int) -> None:
        """In the new process: becomes what was asked for, or says why not and ends."""
        try:
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE):
                signal.signal(number, signal.SIG_DFL)
            os.setsid()
            os.chdir(self.cwd)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.dup2(out, 1)
            os.dup2(err, 2)
            os.execve(self.argv[0], self.argv, self.env)  # noqa: S606 - no shell
        except (OSError, ValueError, TypeError) as error:
            os.write(failed, str(getattr(error, "errno", errno.EINVAL)).encode())
        finally:
            os._exit(127)

    @staticmethod
    def _close(*descriptors: int) -> None:
        for descriptor in descriptors:
            with suppress(OSError):
                os.close(descriptor)


def begin(arguments: Sequence[str], environ: Mapping[str, str]) -> HeadStart | None:
    """Starts torch's probe for the image's own kernel, where that is what is probably asked for."""
    if not set(arguments) <= {"--json"}:
        return None
    folder = os.path.join(sys.prefix, "share", "jupyter", "kernels", KERNEL)
    try:
        with open(os.path.join(folder, "kernel.json"), encoding="utf-8") as stream:
            argv = json.load(stream)["argv"]
        python = argv[: argv.index("-m")]
        record = os.path.join(os.path.dirname(sys.prefix), "torch-deferred.json")
        return HeadStart(
            [*python, PROBE, "imports", "torch", "--record", record], _env(environ), "/"
        )
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None  # it will be told by the examination, which has words for it


def _env(environ: Mapping[str, str]) -> dict[str, str]:
    """As kernel.py makes it for a spec without variables of its own."""
    env = without_secrets(environ)
    env.setdefault("JUPYTER_PREFER_ENV_PATH", "1")
    for name in ("PYTHONEXECUTABLE", "GPUCAMP_DOCTOR_ATTACHED"):
        env.pop(name, None)
    return env
