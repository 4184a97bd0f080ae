"""REST for images: which there are, which of them new servers get, and who runs which.

Guarantees: for those who hold the scope for all; an image is named by a digest or an id, never by a
tag; what is pinned is on the Engine; a pull goes on when who asked for it is gone.
"""

from __future__ import annotations

import logging

from ..scopes import IMAGES_MANAGE, IMAGES_READ
from .api_base import LONGEST_REASON, ApiHandler, reason_text, text
from .api_lists import ListHandler, flag, sorted_page
from .auth import requires
from .image_views import image_view, images_view, pull_view

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


class PullHandler(ApiHandler):
    @requires(IMAGES_READ)
    async def get(self, image_id: str) -> None:
        found = await self.service.images.last_pull(image_id)
        self.answer({"pull": pull_view(self.service, found)})

    @requires(IMAGES_MANAGE)
    async def post(self, image_id: str) -> None:
        reason = self.body({}, {"reason": text(LONGEST_REASON)}).get("reason", "")
        found = await self.service.images.pull(image_id, reason, by=self.caller.name)
        self.answer({"pull": pull_view(self.service, found)}, status=202)


class CancelPullHandler(ApiHandler):
    """Layers that were complete stay on the Engine, for the next pull."""

    @requires(IMAGES_MANAGE)
    async def post(self, image_id: str) -> None:
        self.empty_body()
        pull = await self.service.images.last_pull(image_id)
        found = await self.service.images.pulls.cancel(pull.image, by=self.caller.name)
        self.answer({"pull": pull_view(self.service, found)})


IMAGE = r"api/v1/images/(?P<image_id>[^/]+)"

ROUTES: list[tuple[str, type[ApiHandler]]] = [
    (r"api/v1/images", ImagesHandler),
    (IMAGE, ImageHandler),
    (IMAGE + r"/pin", PinHandler),
    (IMAGE + r"/unpin", UnpinHandler),
    (IMAGE + r"/pull", PullHandler),
    (IMAGE + r"/pull/cancel", CancelPullHandler),
]
