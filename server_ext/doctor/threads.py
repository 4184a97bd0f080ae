"""Work off the event loop, also where the container has no room for another thread.

Guarantees: `in_thread` gives what the function gives, or raises what it raises; where no thread can
be started, it runs here and now. `without_threads` lets asyncio wait for processes without a thread
for each.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


async def in_thread(function: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
    """As asyncio.to_thread."""
    if not _there_is_room():
        return function(*arguments, **named)
    return await asyncio.to_thread(function, *arguments, **named)


def _there_is_room() -> bool:
    try:
        threading.Thread(target=lambda: None).start()
    except RuntimeError:  # can't start new thread
        return False
    return True


def without_threads() -> None:
    """Before the event loop of a program of its own starts: before Python 3.12, asyncio starts a
    thread for each process, where the kernel has a better way.
    """
    if sys.version_info >= (3, 12) or not hasattr(os, "pidfd_open"):
        return
    try:
        os.close(os.pidfd_open(os.getpid()))
    except OSError:
        return  # an old kernel, or one that may not
    asyncio.set_child_watcher(asyncio.PidfdChildWatcher())
