"""Says what is being done, and runs the long commands.

Guarantees:
- Every line appears at once (also in a pipe); a command that is silent for long still shows life.
- A command's whole output is kept in a log; when it fails, the error shows its end and the remedy.
- Ctrl-C ends the command that runs, and its children, before it reaches the caller.
"""

from __future__ import annotations

import contextlib
import io
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TextIO

from .diagnosis import remedy_for
from .errors import SetupError

HEARTBEAT_SECONDS = 15.0
GRACE_SECONDS = 5.0
_LOOK_SECONDS = 0.3
_TAIL_LINES = 15


class Progress:
    """Where people read what happens; `stream` is standard output unless a test gives another."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stdout

    def say(self, text: str) -> None:
        """Print a line now; where nobody reads any more (`make run | head`), the work goes on."""
        try:
            self._stream.write(text + "\n")
            self._stream.flush()
        except BrokenPipeError:
            # the interpreter would fail on it once more when it ends
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            self._stream = io.StringIO()

    @contextlib.contextmanager
    def step(self, title: str) -> Iterator[None]:
        """Announce a step, and say how long it took."""
        self.say(f"* {title} ...")
        begun = time.monotonic()
        yield
        self.say(f"  done: {title} ({duration(time.monotonic() - begun)})")

    def run(
        self,
        argv: Sequence[str | Path],
        *,
        log: Path,
        problem: str,
        remedy: str,
        cwd: Path | None = None,
        environ: Mapping[str, str] | None = None,
        show: bool = False,
    ) -> None:
        """Run a command to its end; output goes to `log`, and to the screen where `show`.

        Raises SetupError(problem, remedy) with the end of the output when it fails; a cause that
        can be told from the output (no network, a full disk, ...) has its own remedy.
        """
        log.parent.mkdir(parents=True, exist_ok=True)
        command = [str(part) for part in argv]
        with log.open("ab") as out:
            out.write(f"\n$ {shlex.join(command)}\n".encode())
            out.flush()
            start = out.tell()
            process: subprocess.Popen[bytes] | None = None
            try:
                with interrupts_wait():
                    try:
                        # Output goes to a file, not a pipe: a daemon that the command leaves
                        # behind would keep a pipe open. A session of its own, so that Ctrl-C can
                        # end all its children.
                        process = subprocess.Popen(
                            command,
                            cwd=cwd,
                            env=None if environ is None else dict(environ),
                            stdin=subprocess.DEVNULL,
                            stdout=out,
                            stderr=subprocess.STDOUT,
                            start_new_session=True,
                        )
                    except OSError as error:
                        raise SetupError(
                            f"{problem} ({command[0]}: {error.strerror or error})", remedy
                        ) from error
                code = self._watch(process, log, start, show)
            except BaseException:
                if process is not None:
                    end_session(process)
                raise
        if code != 0:
            with log.open(encoding="utf-8", errors="replace") as written:
                written.seek(start)
                output = written.read()
            tail = "\n".join(output.strip().splitlines()[-_TAIL_LINES:])
            raise SetupError(
                f"{problem} (exit status {code}; everything it said is in {log})",
                remedy_for(output) or remedy,
                tail,
            )

    def _watch(self, process: subprocess.Popen[bytes], log: Path, start: int, show: bool) -> int:
        """Wait for the end; meanwhile show the output, or a sign of life. The exit status."""
        begun = last_sign = time.monotonic()
        last_line = ""
        with log.open("rb") as output:
            output.seek(start)
            code: int | None = None
            while code is None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    code = process.wait(_LOOK_SECONDS)
                lines = output.read().decode(errors="replace").replace("\r", "\n").splitlines()
                if show and lines:
                    self.say("\n".join("  " + line for line in lines))
                    last_sign = time.monotonic()
                last_line = next(
                    (line.strip() for line in reversed(lines) if line.strip()), last_line
                )
                if time.monotonic() - last_sign > HEARTBEAT_SECONDS:
                    last_sign = time.monotonic()
                    self.say(f"  {duration(last_sign - begun)}: {last_line[:100] or 'at work'}")
        return code


@contextlib.contextmanager
def interrupts_wait() -> Iterator[None]:
    """Ctrl-C within the block is heard at its end: a process that starts there is not forgotten."""
    if threading.current_thread() is not threading.main_thread():
        yield  # no other thread is ever interrupted
        return
    heard: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _frame: heard.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if heard and callable(before):
        before(signal.SIGINT, None)


def end_session(process: subprocess.Popen[bytes], grace: float | None = None) -> None:
    """End a process that leads a session, and its children: politely, then not.

    `grace` (default: GRACE_SECONDS) is how long each of SIGINT, SIGTERM and SIGKILL may take.
    """
    grace = GRACE_SECONDS if grace is None else grace
    for sign in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, sign)
        deadline = time.monotonic() + grace
        while time.monotonic() < deadline:
            process.poll()
            try:
                os.killpg(process.pid, 0)
            except ProcessLookupError:
                process.wait()
                return
            time.sleep(0.05)


def duration(seconds: float) -> str:
    """Seconds for people: `4 s`, `3 min 20 s`."""
    whole = round(seconds)
    return f"{whole} s" if whole < 120 else f"{whole // 60} min {whole % 60:02d} s"
