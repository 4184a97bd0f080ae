"""How long the event loop of a participant's server is held by one callback.

The server times each callback itself, by the clock and by the thread's CPU time: on a host that has
other things to do the first counts the time in which the server had no core.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from docker.types import Mount
from lab_server import LabServer

SITE = "/opt/gpucamp/base/lib/python3.11/site-packages"
FILE = "/tmp/held-event-loop"  # noqa: S108 - the container's
LEAST = 0.005  # seconds: shorter ones are not written down
# runs in every Python of the image's base; only the server is timed
HOOK = (
    "import sys; "
    "any(word.endswith('serve.py') for word in sys.orig_argv) and __import__('timed_callbacks')\n"
)
TIMES = f"""
import asyncio, json, time
def _timed(run):
    def timed(handle):
        clock, cpu = time.perf_counter(), time.thread_time()
        run(handle)
        held = time.perf_counter() - clock
        if held > {LEAST}:
            with open({FILE!r}, "a") as file:
                file.write(json.dumps([held, time.thread_time() - cpu]) + "\\n")
    return timed
asyncio.Handle._run = _timed(asyncio.Handle._run)
"""


@dataclass(frozen=True)
class Held:
    """The longest callback, in seconds by the clock, and its CPU time."""

    clock: float
    cpu: float

    def __str__(self) -> str:
        if self == NEVER:
            return f"under {1000 * LEAST:.0f} ms"
        return f"{1000 * self.clock:.0f} ms, of CPU {1000 * self.cpu:.0f} ms"


NEVER = Held(LEAST, LEAST)  # was it held for as long as is written down


@contextmanager
def timing() -> Iterator[list[Mount]]:
    """What makes a server time its callbacks, to be mounted into its container."""
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        for name, text in {"timed_callbacks.py": TIMES, "timed_callbacks.pth": HOOK}.items():
            (Path(folder) / name).write_text(text)
        yield [
            Mount(f"{SITE}/{name}", f"{folder}/{name}", "bind", read_only=True)
            for name in ("timed_callbacks.py", "timed_callbacks.pth")
        ]


def forget(lab: LabServer) -> None:
    """What was before is not counted."""
    lab.ok(f"rm -f {FILE}")


def longest(lab: LabServer) -> Held:
    """Since `forget`."""
    found = lab.ok(f"cat {FILE} || true")
    lines = [json.loads(line) for line in found.splitlines() if "[" in line]
    return max((Held(*line) for line in lines), key=lambda held: held.clock, default=NEVER)
