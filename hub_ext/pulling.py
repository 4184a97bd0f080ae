"""What an Engine says while it pulls an image -> how far it is, for all who wait for it.

What this module guarantees: whoever joins a pull that is under way hears of it from then on, on the
event loop; the bytes that are done never go down.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .errors import EngineRefused


@dataclass(frozen=True, slots=True)
class PullProgress:
    """How far a pull is; `bytes_total` grows as the Engine learns of more layers."""

    layers_done: int
    layers: int
    bytes_done: int
    bytes_total: int


class Pull:
    """A pull under way and those who follow it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.task: asyncio.Task[None] | None = None
        self.listeners: list[Callable[[PullProgress], None]] = []

    def report_from_thread(self, progress: PullProgress) -> None:
        """Tell all who follow, on the event loop."""
        self.loop.call_soon_threadsafe(self._report, progress)

    def _report(self, progress: PullProgress) -> None:
        for listener in tuple(self.listeners):
            listener(progress)


class Layers:
    """The layers of a pull, as the Engine's lines tell of them."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[int, int, bool]] = {}  # id -> bytes done, in all, complete

    def take(self, line: Mapping[str, Any]) -> PullProgress | None:
        """How far the pull is after this line; None if it is about no layer.

        The Engine reports failures in such lines, with status 200: raises EngineRefused, with
        status 404 if there is no such image.
        """
        if "error" in line:
            words = str(line["error"])
            raise EngineRefused(words, 404 if is_unknown(words) else 500)
        layer, status = line.get("id"), line.get("status", "")
        if not layer or status.startswith("Pulling from"):
            return None
        done, total, complete = self._known.get(layer, (0, 0, False))
        detail = line.get("progressDetail") or {}
        if status == "Downloading":
            total = int(detail.get("total") or total)
            done = int(detail.get("current") or done)
        elif status in ("Download complete", "Pull complete", "Already exists"):
            done, complete = total, complete or status != "Download complete"
        self._known[layer] = (done, total, complete)
        known = self._known.values()
        return PullProgress(
            layers_done=sum(1 for each in known if each[2]),
            layers=len(known),
            bytes_done=sum(each[0] for each in known),
            bytes_total=sum(each[1] for each in known),
        )


def follow(stream: Iterator[Mapping[str, Any]], report: Callable[[PullProgress], None]) -> None:
    """Read a pull's stream to its end. Raises as Layers.take."""
    layers = Layers()
    for line in stream:
        progress = layers.take(line)
        if progress is not None:
            report(progress)


def is_unknown(words: str) -> bool:
    """Whether an Engine's words about a pull mean that there is no such image."""
    return "not found" in words or "manifest unknown" in words
