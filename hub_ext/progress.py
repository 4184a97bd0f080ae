"""What the progress page shows of one start, in the language of whoever started it.

What this module guarantees: every viewer, whenever they come, gets all messages from the first one
on and then each new one; a line that only counts up (a download, a place in the queue) replaces
itself for those who come later, so the list stays short.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from .engine import PullProgress
from .fair_queue import Place
from .i18n import _, ngettext


class Progress:
    """The messages of one start, kept and followed."""

    def __init__(self) -> None:
        self._events: list[dict[str, object]] = []
        self._last_topic: str | None = None
        self._more = asyncio.Event()

    def say(self, percent: int, message: str, *, topic: str | None = None) -> None:
        """Add a message. One of the same `topic` as the last one takes its place."""
        event: dict[str, object] = {"progress": percent, "message": message}
        if topic is not None and topic == self._last_topic:
            self._events[-1] = event
        else:
            self._events.append(event)
        self._last_topic = topic
        self._more.set()
        self._more = asyncio.Event()

    async def follow(self) -> AsyncIterator[dict[str, object]]:
        """All messages so far, then the new ones, without end."""
        sent: list[dict[str, object]] = []
        while True:
            more = self._more
            for place, event in enumerate(self._events):
                if place >= len(sent):
                    sent.append(event)
                    yield dict(event)
                elif sent[place] is not event:
                    sent[place] = event
                    yield dict(event)
            if more is self._more:
                await more.wait()

    # -- the steps that need more than a sentence

    def tell_pull(self, pull: PullProgress) -> None:
        """How far the download of the image is."""
        words = _(
            "Downloading the image: %(done).1f of %(total).1f GB, %(layers)d of %(all)d parts"
        )
        numbers = {
            "done": pull.bytes_done / 1e9,
            "total": pull.bytes_total / 1e9,
            "layers": pull.layers_done,
            "all": pull.layers,
        }
        self.say(10, words % numbers, topic="pull")

    def tell_place(self, place: Place, length: int) -> None:
        """Where in the line the request is."""
        words = _("Waiting for free GPUs: you are number %(position)d of %(length)d in line.")
        self.say(20, words % {"position": place.position, "length": length}, topic="place")

    def tell_devices(self, gpus: int, simulated: bool) -> None:
        """What was leased."""
        if not gpus:
            self.say(30, _("Starting without a GPU"))
            return
        words = ngettext("%(count)d GPU is yours", "%(count)d GPUs are yours", gpus)
        self.say(30, words % {"count": gpus} + (" (" + _("simulated") + ")" if simulated else ""))
