"""The part of Ledger about images."""

from __future__ import annotations

from datetime import datetime

from ..images import ImagePin
from . import facts, images
from .database import Database

_CONFIGURED = "configured image"


class ImageStore:
    """Which image new servers get."""

    _database: Database

    def set_configured_image(self, image: str) -> None:
        """What the hub that starts is configured to; for the service, which cannot know."""
        with self._database.write() as connection:
            if facts.recall(connection, _CONFIGURED) != image:
                facts.remember(connection, _CONFIGURED, image)

    def configured_image(self) -> str | None:
        """What the hub said last; None if no hub did."""
        with self._database.read() as connection:
            return facts.recall(connection, _CONFIGURED)

    def image_for(self, configured: str) -> str:
        """What a new server gets where the spawner is set to `configured`."""
        found = self.image_pin(configured)
        return configured if found is None else found.image

    def image_in_force(self, usual: str) -> str:
        """What a new server gets; `usual` is what is configured if no hub has said so."""
        with self._database.read() as connection:
            configured = facts.recall(connection, _CONFIGURED) or usual
            found = images.pinned(connection, configured)
            return configured if found is None else found.image

    def image_pin(self, configured: str) -> ImagePin | None:
        """The pin for a configured image, if there is one."""
        with self._database.read() as connection:
            return images.pinned(connection, configured)

    def pin_image(
        self, configured: str, image: str, reason: str, now: datetime, *, actor: str
    ) -> None:
        """Give new servers `image` where the spawner is set to `configured`; that one again takes
        the pin away. Twice is once."""
        with self._database.write() as connection:
            images.pin(connection, configured, image, reason, now, actor)
