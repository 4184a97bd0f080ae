"""REST for images: which there are, which of them new servers get, and who runs which.

Guarantees: for those who hold the scope for all; an image is named by a digest or an id, never by a
tag; what is pinned is on the Engine.
"""

from __future__ import annotations

import logging

from ..scopes import IMAGES_MANAGE, IMAGES_READ
from .api_base import ApiHandler, reason_text
from .api_lists import ListHandler, flag, sorted_page
from .auth import requires
from .image_views import image_view, images_view

_log = logging.getLogger(__name__)


class ImagesHandler(ListHandler):
    filters = {"present": flag}

    @requires(IMAGES_READ)
    async def get(self) -> None:
        wanted = self.wanted()
        rows = [
            row for row in await images_view(self.service) if wanted.admits(present=row["present"])
        ]
        self.answer_page("images", *sorted_page(rows, lambda row: (row["image"],), wanted))


class ImageHandler(ApiHandler):
    @requires(IMAGES_READ)
    async def get(self, image_id: str) -> None:
        found = await self.service.images.one(image_id)
        self.answer({"image": image_view(self.service, found)})


class PinHandler(ApiHandler):
    @requires(IMAGES_MANAGE)
    async def post(self, image_id: str) -> None:
        reason = self.body({"reason": reason_text}, {})["reason"]
        found = await self.service.images.pin(
            image_id, reason, self.service.now(), by=self.caller.name
        )
        _log.info("%s: new servers get the image %s", self.caller.name, found.name)
        self.answer({"image": image_view(self.service, found)})


class UnpinHandler(ApiHandler):
    @requires(IMAGES_MANAGE)
    async def post(self, image_id: str) -> None:
        reason = self.body({"reason": reason_text}, {})["reason"]
        found = await self.service.images.unpin(
            image_id, reason, self.service.now(), by=self.caller.name
        )
        _log.info("%s: the image %s is not pinned", self.caller.name, found.name)
        self.answer({"image": image_view(self.service, found)})


IMAGE = r"api/v1/images/(?P<image_id>[^/]+)"

ROUTES: list[tuple[str, type[ApiHandler]]] = [
    (r"api/v1/images", ImagesHandler),
    (IMAGE, ImageHandler),
    (IMAGE + r"/pin", PinHandler),
    (IMAGE + r"/unpin", UnpinHandler),
]
