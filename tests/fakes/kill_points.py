"""Kills a hub or its service at a named call, to see what is left then.

A hub's configuration calls `arm(file)`. Nothing happens until a test writes the file (`aim`); it is
deleted before the kill, so that the successor lives.
"""

from __future__ import annotations

import functools
import json
import os
import signal
from pathlib import Path
from typing import Any

LEDGER_CALLS = ("enqueue", "withdraw", "acquire", "mark_running", "end")
SPAWNER_CALLS = ("get_state",)


def aim(file: Path, call: str, when: str, victims: tuple[str, ...]) -> None:
    """At the next such call ("before" or "after" it) the `victims` ("hub", "service") die."""
    assert call in LEDGER_CALLS + SPAWNER_CALLS and when in ("before", "after")
    file.write_text(json.dumps({"call": call, "when": when, "victims": victims}))


def arm(file: str) -> None:
    """Watch the calls of this process, which is the hub's."""
    from hub_ext.engine import EngineClient
    from hub_ext.ledger import Ledger
    from hub_ext.spawner import GPUDockerSpawner

    for owner, calls in ((Ledger, LEDGER_CALLS), (GPUDockerSpawner, SPAWNER_CALLS)):
        for call in calls:
            setattr(owner, call, _watched(getattr(owner, call), call, Path(file)))
    # ask for the image at each start, not only at the first: that is a step, too
    EngineClient.image_present = _forgetful(EngineClient.image_present)


def services_of(hub: int) -> list[int]:
    """Process ids of the gpucamp services that this hub started."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            command = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if parent == hub and b"hub_ext.service" in command:
            found.append(int(folder.name))
    return found


def _watched(method: Any, call: str, file: Path) -> Any:
    @functools.wraps(method)
    def watched(*args: Any, **kwargs: Any) -> Any:
        _shoot(file, call, "before")
        result = method(*args, **kwargs)
        if call != "acquire" or result is not None:
            _shoot(file, call, "after")
        return result

    return watched


def _forgetful(method: Any) -> Any:
    @functools.wraps(method)
    async def forgetful(self: Any, image: str) -> Any:
        self._present_images.clear()
        return await method(self, image)

    return forgetful


def _shoot(file: Path, call: str, when: str) -> None:
    try:
        target = json.loads(file.read_text())
    except (OSError, ValueError):
        return
    if (target["call"], target["when"]) != (call, when):
        return
    file.unlink()
    if "service" in target["victims"]:
        for pid in services_of(os.getpid()):
            os.kill(pid, signal.SIGKILL)
    if "hub" in target["victims"]:
        os.kill(os.getpid(), signal.SIGKILL)
