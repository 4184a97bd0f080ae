"""What the progress page shows of one start, in the language of whoever started it.

What this module guarantees: every viewer, whenever they come, gets all messages from the first one
on and then each new one; a line that only counts up (a download, a place in the queue) replaces
itself for those who come later, so the list stays short.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime

from .fair_queue import Place
from .i18n import _, gap, ngettext
from .models import Device
from .pulling import PullProgress


class Progress:
    """The messages of one start, kept and followed."""

    def __init__(self) -> None:
        self._events: list[dict[str, object]] = []
        self._last_topic: str | None = None
        self._more = asyncio.Event()

    def say(self, percent: int, message: str, *, topic: str | None = None, **more: object) -> None:
        """Add a message. One of the same `topic` as the last one takes its place.

        `more` goes with it for pages and programs that can make use of it.
        """
        event: dict[str, object] = {"progress": percent, "message": message, **more}
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
        if pull.bytes_total < 1e9:
            unit = 1e6
            words = _(
                "Downloading the image: %(done).0f of %(total).0f MB, %(layers)d of %(all)d parts"
            )
        else:
            unit = 1e9
            words = _(
                "Downloading the image: %(done).1f of %(total).1f GB, %(layers)d of %(all)d parts"
            )
        numbers = {
            "done": pull.bytes_done / unit,
            "total": pull.bytes_total / unit,
            "layers": pull.layers_done,
            "all": pull.layers,
        }
        self.say(10, words % numbers, topic="pull")

    def tell_place(self, place: Place, length: int, set_aside: int) -> None:
        """Where in the line the request is, and when it is expected to be served.

        The time is in UTC in `message`; `words` has `%(time)s` in its place for a page that knows
        its reader's time zone, and `eta` is the time itself.
        """
        wanted = place.entry.request.gpus
        words = _("Waiting for free GPUs: you are number %(position)d of %(length)d in line.") % {
            "position": place.position,
            "length": length,
        }
        eta = place.eta
        if eta.at is None:
            words += gap() + _("When it is your turn is not known.")
        elif eta.basis == "deadline":
            words += gap() + _("Your turn is by about %(time)s, when a lease ends.")
        else:
            words += gap() + _("Your turn is at about %(time)s, if leases last as long as usual.")
        if set_aside:
            words += gap() + _("%(held)d of %(wanted)d GPUs are set aside for you already.") % {
                "held": min(set_aside, wanted),
                "wanted": wanted,
            }
        move = place.entry.move
        if move is not None:
            words += gap() + _("%(by)s gave you this place: “%(reason)s”.") % {
                "by": move.by,
                "reason": move.reason,
            }
        time = clock(eta.at, _now()) if eta.at is not None else ""
        self.say(
            20,
            words.replace("%(time)s", time),
            topic="place",
            words=words,
            position=place.position,
            length=length,
            eta=eta.at.isoformat() if eta.at is not None else None,
            eta_basis=eta.basis,
        )

    def tell_devices(self, devices: Sequence[Device], *, shared: bool) -> None:
        """What was leased."""
        if not devices:
            self.say(30, _("Starting without a GPU"))
            return
        gpus = len(devices)
        if shared:
            words = _("A share of a GPU is yours; its memory is not protected from the others")
        else:
            words = ngettext("%(count)d GPU is yours", "%(count)d GPUs are yours", gpus)
        words %= {"count": gpus}
        if any(device.simulated for device in devices):
            words = _("%(what)s (simulated)") % {"what": words}
        self.say(30, words)


def clock(at: datetime, now: datetime) -> str:
    """A time in UTC, with its date if it is not today."""
    return f"{at:%H:%M} UTC" if at.date() == now.date() else f"{at:%Y-%m-%d %H:%M} UTC"


def _now() -> datetime:
    return datetime.now(UTC)
