"""Pages for those who teach: the groups they may reset as a whole, and how such a reset goes."""

from __future__ import annotations

import asyncio
from urllib.parse import quote

from ..scopes import ENVIRONMENT_MESSAGE, ENVIRONMENT_RESET
from .auth import Group, Resource, requires
from .group_views import find_group, group_reset_view, groups_view
from .page_base import PageHandler


class GroupsPage(PageHandler):
    """The groups that the visitor may reset."""

    async def authorize(self, scope: str, resource: Resource | Group | None) -> None:
        """Nothing beyond the scope in some form: each group is asked for by itself."""

    @requires(ENVIRONMENT_RESET)
    async def get(self) -> None:
        self.show("groups.html", groups=await groups_view(self.service, self.caller))


class GroupPage(PageHandler):
    """One group: its last reset, with a result per user, and the button for the next."""

    async def resource(self, **kwargs: str) -> Group:
        return Group(kwargs["group_name"])

    @requires(ENVIRONMENT_RESET)
    async def get(self, group_name: str) -> None:
        group = await find_group(self.service, group_name)
        found = await asyncio.to_thread(self.service.ledger.group_reset_of, group_name)
        self.show(
            "group.html",
            group=group,
            may_write=self.caller.may_for_group(ENVIRONMENT_MESSAGE, group_name),
            message_url=f"{self.service.prefix}api/v1/groups/{quote(group_name, safe='')}/messages",
            reset=group_reset_view(found) if found is not None else None,
            at_once=self.service.group_resets.at_once,
            api_url=f"{self.service.prefix}api/v1/groups/{quote(group_name, safe='')}/reset",
        )


ROUTES: list[tuple[str, type[PageHandler]]] = [
    (r"groups", GroupsPage),
    (r"groups/(?P<group_name>[^/]+)", GroupPage),
]
