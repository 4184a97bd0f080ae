"""The part of Ledger about images."""

from __future__ import annotations

from datetime import UTC, datetime

from ..images import ImagePin, ImagePull, PullState
from . import facts, image_pulls, images
from .database import Database

_CONFIGURED = "configured image"


class ImageStore:
    """Which image new servers get, and pulls of images."""

    _database: Database
    _actor: str

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

    # -- pulls

    def begin_image_pull(self, image: str, reason: str, now: datetime, *, actor: str) -> ImagePull:
        """Write down a pull; if one of this image is under way, that one.

        Raises Conflict if too many others are.
        """
        with self._database.write() as connection:
            return image_pulls.begin(connection, image, reason, now, actor)

    def end_image_pull(
        self,
        pull_id: str,
        state: PullState,
        error: str = "",
        now: datetime | None = None,
        *,
        actor: str = "",
    ) -> ImagePull:
        """It has ended so; one that has ended before stays as it is. Raises NotFound."""
        moment = now or datetime.now(UTC)
        with self._database.write() as connection:
            return image_pulls.end(connection, pull_id, state, error, moment, actor or self._actor)

    def cut_off_image_pulls(self, now: datetime) -> tuple[ImagePull, ...]:
        """Those under way have ended with the service that did them; gives them."""
        with self._database.write() as connection:
            return image_pulls.cut_off(connection, now, self._actor)

    def image_pulls(self, since: datetime) -> tuple[ImagePull, ...]:
        """The last one of each image, if it is under way or has ended since; by image."""
        with self._database.read() as connection:
            return image_pulls.latest(connection, since)

    def image_pull_of(self, image: str) -> ImagePull | None:
        """The one of this image that is under way, else the last one."""
        with self._database.read() as connection:
            return image_pulls.of_image(connection, image)
