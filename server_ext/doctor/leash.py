"""Ends the command's work when whoever started it is gone.

Guarantees: on SIGTERM or SIGHUP, and, where that was asked for, when stdin ends, the work is
cancelled, ends its own processes, and LetGo is raised. Without such an event nothing changes.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Coroutine, MutableMapping
from contextlib import suppress
from typing import Any, TypeVar

# set by the service, which holds the other end of stdin (hub_ext/service/examination_run.py)
ATTACHED = "GPUCAMP_DOCTOR_ATTACHED"

T = TypeVar("T")


class LetGo(Exception):
    """Nobody waits for the report any more."""


async def held(
    work: Coroutine[Any, Any, T], environ: MutableMapping[str, str], stdin: int = 0
) -> T:
    """What `work` gives. Raises LetGo, and whatever `work` raises.

    Takes ATTACHED out of `environ`, so that kernels do not inherit it.
    """
    loop = asyncio.get_running_loop()
    task = asyncio.create_task(work)
    gone = asyncio.Event()

    def let_go() -> None:
        gone.set()
        task.cancel()

    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:
            continue  # nohup
        with suppress(ValueError, RuntimeError):  # not in the main thread
            loop.add_signal_handler(number, let_go)
    if environ.pop(ATTACHED, ""):
        with suppress(OSError):  # a file or /dev/null never ends in the middle
            loop.add_reader(stdin, _watch, stdin, loop, let_go)
    try:
        return await task
    except asyncio.CancelledError:
        if gone.is_set():
            raise LetGo from None
        task.cancel()
        await asyncio.wait([task])
        raise
    finally:
        loop.remove_reader(stdin)


def _watch(stdin: int, loop: asyncio.AbstractEventLoop, let_go: Any) -> None:
    try:
        if os.read(stdin, 4096):
            return  # nobody has anything to say here
    except BlockingIOError:
        return
    except OSError:
        pass
    loop.remove_reader(stdin)
    let_go()
