"""REST for whole groups: reset everyone's default server, a few at a time.

Guarantees: a caller who may not reset everyone of a group does not learn that it exists; asking
again while one is under way begins nothing and tells of that one.
"""

from __future__ import annotations

import asyncio

from ..scopes import ENVIRONMENT_RESET
from .api_base import ApiHandler, reason_text
from .api_lists import ListHandler, sorted_page
from .auth import Group, Resource, requires
from .group_views import find_group, group_reset_view, groups_view


class GroupsHandler(ListHandler):
    """The groups that the caller may reset as a whole."""

    async def authorize(self, scope: str, resource: Resource | Group | None) -> None:
        """Nothing beyond the scope in some form: each group is asked for by itself."""

    @requires(ENVIRONMENT_RESET)
    async def get(self) -> None:
        wanted = self.wanted()
        rows = await groups_view(self.service, self.caller)
        self.answer_page("groups", *sorted_page(rows, lambda row: (row["name"],), wanted))


class GroupHandler(ApiHandler):
    """Base of what is about one group."""

    async def resource(self, **kwargs: str) -> Group:
        return Group(kwargs["group_name"])


class GroupResetHandler(GroupHandler):
    @requires(ENVIRONMENT_RESET)
    async def get(self, group_name: str) -> None:
        found = await asyncio.to_thread(self.service.ledger.group_reset_of, group_name)
        if found is None:
            await find_group(self.service, group_name)
        self.answer({"reset": group_reset_view(found) if found is not None else None})

    @requires(ENVIRONMENT_RESET)
    async def post(self, group_name: str) -> None:
        reason = self.body({"reason": reason_text}, {})["reason"]
        group = await find_group(self.service, group_name)
        found = await self.service.group_resets.begin(
            group_name, group.users, requested_by=self.caller.name, reason=reason
        )
        self.answer({"reset": group_reset_view(found)}, status=202)


class GroupResetCancelHandler(GroupHandler):
    """Nobody else is begun; what had begun goes on to its end."""

    @requires(ENVIRONMENT_RESET)
    async def post(self, group_name: str) -> None:
        self.empty_body()
        found = await self.service.group_resets.cancel(group_name, self.caller.name)
        self.answer({"reset": group_reset_view(found)})


GROUP = r"api/v1/groups/(?P<group_name>[^/]+)"

ROUTES: list[tuple[str, type[ApiHandler]]] = [
    (r"api/v1/groups", GroupsHandler),
    (GROUP + r"/reset", GroupResetHandler),
    (GROUP + r"/reset/cancel", GroupResetCancelHandler),
]
