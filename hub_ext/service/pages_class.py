"""The page of whoever teaches: the class as a live grid, and the same for the screen of the room.

Guarantees: only servers that the visitor may see; the screen of the room, which everybody there
reads, names nobody but who waits in the line and who raised a hand.
"""

from __future__ import annotations

from ..scopes import ENVIRONMENT_READ
from .auth import Group, Resource, requires
from .class_view import class_view
from .page_base import PageHandler


class ClassPage(PageHandler):
    """All whom the visitor may see, or one group (?group=); ?screen=1: for the room."""

    async def authorize(self, scope: str, resource: Resource | Group | None) -> None:
        """Nothing beyond the scope in some form: each server is asked for by itself."""

    @requires(ENVIRONMENT_READ)
    async def get(self) -> None:
        view = await class_view(
            self.service, self.caller, self.get_query_argument("group", None) or None
        )
        is_screen = self.get_query_argument("screen", "") == "1"
        self.show(
            "class_screen.html" if is_screen else "class.html",
            view=view,
            base_url=self.service.hub_base_url,
        )


ROUTES: list[tuple[str, type[PageHandler]]] = [(r"class", ClassPage)]
