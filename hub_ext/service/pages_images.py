"""The page of the images, for admins.

Guarantees: what is shown is what REST tells the same visitor; the buttons ask REST.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

from ..images import repository_by_digest
from ..scopes import IMAGES_MANAGE, IMAGES_READ
from .auth import requires
from .image_views import images_view
from .lease_views import Json
from .page_base import Live, PageHandler


class ImagesPage(PageHandler):
    """Which images there are, what new servers get, who runs what, and pulls."""

    @requires(IMAGES_READ)
    async def get(self) -> None:
        images = await images_view(self.service)
        self.show(
            "images.html",
            images=[row(each) for each in in_order(images)],
            others=on_others(images),
            manages=self.caller.holds_for_all(IMAGES_MANAGE),
            live=Live(poll=2 if any(map(is_pulled, images)) else 30, gap=2),
        )


def in_order(images: Sequence[Json]) -> list[Json]:
    """What new servers get first, then the configured one, then the newest first."""
    by_age = sorted(images, key=lambda each: each["created_at"] or "", reverse=True)
    return sorted(by_age, key=lambda each: (not each["in_force"], not each["configured"]))


def is_pulled(image: Json) -> bool:
    """Whether a pull of it is under way."""
    return image["pull"] is not None and image["pull"]["state"] == "running"


def row(image: Json) -> Json:
    """With a name for people, one for the page's own marks, and whether it can be pulled."""
    name = image["image"]
    repository = repository_by_digest(name)
    return {
        **image,
        "title": image["tags"][0] if image["tags"] else repository or "",
        "mark": blake2b(name.encode(), digest_size=6).hexdigest(),
        "can_pull": not image["present"] and repository is not None and not is_pulled(image),
    }


def on_others(images: Sequence[Json]) -> list[Json]:
    """Servers that run another image than new ones get."""
    if not any(each["in_force"] and each["present"] for each in images):
        return []
    found = [server for each in images if not each["in_force"] for server in each["servers"]]
    return sorted(found, key=lambda server: (server["user"], server["server"]))


ROUTES: list[tuple[str, type[PageHandler]]] = [(r"images", ImagesPage)]
