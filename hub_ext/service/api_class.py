"""REST for whoever teaches: the class as the live grid shows it."""

from __future__ import annotations

from ..scopes import ENVIRONMENT_READ
from .api_base import ApiHandler
from .auth import Group, Resource, requires
from .class_view import class_view


class ClassHandler(ApiHandler):
    """All whom the caller may see, or one group (?group=); those in need first."""

    query = frozenset({"group"})

    async def authorize(self, scope: str, resource: Resource | Group | None) -> None:
        """Nothing beyond the scope in some form: each server is asked for by itself."""

    @requires(ENVIRONMENT_READ)
    async def get(self) -> None:
        group = self.get_query_argument("group", None)
        self.answer(await class_view(self.service, self.caller, group))


ROUTES: list[tuple[str, type[ApiHandler]]] = [(r"api/v1/class", ClassHandler)]
