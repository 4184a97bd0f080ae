"""What only this host knows of how devices get into containers: toolkit, daemon, device nodes.

Guarantees: an answer within seconds, kept for a while, so that asking often costs nothing; None is
what cannot be told (no NVIDIA driver here, no right to look, an Engine that does not answer). Of a
container only the names of NVIDIA's device nodes are read.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import time
from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from .engine import EngineClient, Presence
from .inventory.attribution import containers_of

KEPT_SECONDS = 600.0
UNKNOWN_SECONDS = 60.0  # until what could not be told is asked again
COMMAND_SECONDS = 0.7
ENGINE_SECONDS = 1.0  # GPU doctor waits for it
MOST_BYTES = 4096
MOST_NODES = 64

_TOOLS = ("nvidia-ctk", "nvidia-container-cli")
_VERSION = re.compile(r"version:? v?(\d+\.\d+[\w.+~-]{0,30})")
_CARD = re.compile(r"nvidia[0-9]{1,4}")
# without them CUDA does not begin, whatever card there is
_CONTROL = ("nvidiactl", "nvidia-uvm")


@dataclass(frozen=True, slots=True)
class HostState:
    """Of the host as a whole."""

    toolkit_version: str | None = None
    persistenced: bool | None = None  # nvidia-persistenced runs


@dataclass(frozen=True, slots=True)
class Nodes:
    """NVIDIA's device nodes in a container: those that are there, and those that are not but should
    be. "nvidia*" among the missing ones: fewer cards than were given."""

    present: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()


def compared(present: Iterable[str], host: Collection[str], cards: int) -> Nodes:
    """Of a container that was given `cards` whole cards; `host` are the host's nodes. Pure."""
    there = sorted(set(present))
    missing = [name for name in _CONTROL if name in host and name not in there]
    if sum(_is_card(name) for name in there) < min(cards, sum(map(_is_card, host))):
        missing.append("nvidia*")
    return Nodes(tuple(there[:MOST_NODES]), tuple(missing) if cards else ())


def _is_card(name: str) -> bool:
    return _CARD.fullmatch(name) is not None


class HostLook:
    """Looks at this host; `root` is another one's in tests."""

    def __init__(self, engine: EngineClient, root: Path = Path("/")) -> None:
        self._engine = engine
        self._root = root
        self._state: tuple[HostState, float] | None = None  # and until when it counts
        self._looking = asyncio.Lock()

    async def state(self) -> HostState:
        """Never raises."""
        async with self._looking:  # so that many who ask start one program
            if self._state is None or time.monotonic() > self._state[1]:
                driver = (self._root / "proc/driver/nvidia").exists()
                daemon = (self._root / "run/nvidia-persistenced/socket").exists()
                toolkit = await self._toolkit_version()
                kept = UNKNOWN_SECONDS if toolkit is None else KEPT_SECONDS
                found = HostState(toolkit, daemon if driver else None)
                self._state = found, time.monotonic() + kept
            return self._state[0]

    async def _toolkit_version(self) -> str | None:
        for tool in _TOOLS:
            program = shutil.which(tool)
            if program is None:
                continue
            with suppress(OSError):
                process = await asyncio.create_subprocess_exec(
                    program,
                    "--version",
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=asyncio.subprocess.DEVNULL,
                    start_new_session=True,
                )
                try:
                    assert process.stdout is not None  # noqa: S101 - it was asked for
                    async with asyncio.timeout(COMMAND_SECONDS):
                        said = await process.stdout.read(MOST_BYTES)
                except TimeoutError:
                    continue
                finally:
                    with suppress(ProcessLookupError):
                        os.killpg(process.pid, signal.SIGKILL)  # what it started, too
                    # a full pipe is not read to its end, and wait() would wait for that;
                    # asyncio has no public way to close it
                    process._transport.close()  # type: ignore[attr-defined]
                    await process.wait()
                if found := _VERSION.search(said.decode("utf-8", "replace")):
                    return found[1]
        return None

    async def nodes(self, container: str, cards: int) -> Nodes | None:
        """Of a running container with so many whole cards. Never raises."""
        try:
            async with asyncio.timeout(ENGINE_SECONDS):
                state = await self._engine.state(container)
        except TimeoutError:
            return None
        if state.presence is not Presence.RUNNING or state.pid <= 0:
            return None
        return await asyncio.to_thread(self._nodes, state.id, state.pid, cards)

    def _nodes(self, container: str, pid: int, cards: int) -> Nodes | None:
        process = self._root / "proc" / str(pid)
        try:
            present = _nvidias(process / "root/dev")
            with (process / "cgroup").open(errors="replace") as file:
                around = containers_of(file.read(MOST_BYTES))
            host = _nvidias(self._root / "dev")
        except OSError:
            return None  # gone, or not ours to look at
        # the number may be another process's by now
        return compared(present, host, cards) if container in around else None


def _nvidias(folder: Path) -> list[str]:
    return [name for name in os.listdir(folder) if name.startswith("nvidia")]
