"""The hub's place among the programs that want a processor.

A hub is one thread, and everybody waits for it. When many containers start on its host, Engine,
runc and the programs in them want the same cores, and each piece of the hub's work takes two or
three times as long. Other hosts of such a process (systemd's `Nice=`) do the same.

What this module guarantees: the priority is raised only when the hub has started, so what it starts
before (proxy, service) has the usual one; a hub that may not raise it runs as ever, and says so.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path

NICENESS = -10

_log = logging.getLogger("gpucamp.hub")


def raise_priority(niceness: int) -> None:
    """Give all threads of this process that niceness (-20 to -1; 0: leave it); needs CAP_SYS_NICE.

    Where Linux groups processes by session (sched(7), autogroup), niceness counts only within one;
    if the session is this process's, the group gets it, too.
    """
    if niceness == 0:
        return
    try:
        for thread in os.listdir("/proc/self/task"):
            os.setpriority(os.PRIO_PROCESS, int(thread), niceness)
        if os.getsid(0) == os.getpid():
            _group_of_this_session().write_text(str(niceness))
    except PermissionError:
        _log.info(
            "The hub may not raise its priority (c.GPUDockerSpawner.hub_niceness): it answers "
            "later while many servers start on its host"
        )
    except (FileNotFoundError, ProcessLookupError):
        pass  # no such groups in this kernel; a thread has ended


def _group_of_this_session() -> Path:
    return Path("/proc/self/autogroup")
