"""Pages for those who teach: their groups, and what is done about one as a whole."""

from __future__ import annotations

from urllib.parse import quote

from ..models import GroupAction
from ..scopes import ENVIRONMENT_MESSAGE, ENVIRONMENT_RESET
from .api_groups import STOP_MINUTES
from .auth import Group, Resource, requires
from .group_views import find_group, groups_view, latest_view, may_act
from .page_base import Live, PageHandler


class GroupsPage(PageHandler):
    """The groups that the visitor may reset."""

    async def authorize(self, scope: str, resource: Resource | Group | None) -> None:
        """Nothing beyond the scope in some form: each group is asked for by itself."""

    @requires(ENVIRONMENT_RESET)
    async def get(self) -> None:
        self.show("groups.html", groups=await groups_view(self.service, self.caller))


class GroupPage(PageHandler):
    """One group: what was done about it last, with a result per user, and the buttons for more."""

    async def resource(self, **kwargs: str) -> Group:
        return Group(kwargs["group_name"])

    @requires(ENVIRONMENT_RESET)
    async def get(self, group_name: str) -> None:
        group = await find_group(self.service, group_name)
        mine = {each for each in GroupAction if may_act(self.caller, group_name, each)}
        found = await latest_view(self.service, group_name)
        self.show(
            "group.html",
            group=group,
            may_write=self.caller.may_for_group(ENVIRONMENT_MESSAGE, group_name),
            found=found if found and GroupAction(found["action"]) in mine else None,
            may_start_and_stop=GroupAction.START in mine,
            stop_minutes=STOP_MINUTES,
            at_once=self.service.group_operations.at_once,
            live=Live(poll=2 if found and found["under_way"] else 30, gap=2),
            api_url=f"{self.service.prefix}api/v1/groups/{quote(group_name, safe='')}",
        )


ROUTES: list[tuple[str, type[PageHandler]]] = [
    (r"groups", GroupsPage),
    (r"groups/(?P<group_name>[^/]+)", GroupPage),
]
