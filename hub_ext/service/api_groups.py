"""REST for whole groups: reset, start or stop everyone's default server, a few at a time.

Guarantees: a caller who may not do it for everyone of a group does not learn that it exists; asking
again while the same is under way begins nothing and tells of that one.
"""

from __future__ import annotations

from ..models import GroupAction
from ..scopes import ENVIRONMENT_RESET, SERVERS_MANAGE
from .api_base import ApiHandler, reason_text, whole
from .api_lists import ListHandler, sorted_page
from .auth import Group, Resource, requires
from .group_views import find_group, group_operation_view, groups_view, latest_view

STOP_MINUTES = 5  # between the announcement of a stop and the stop, unless another number is asked
MOST_STOP_MINUTES = 24 * 60


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
    """Base of what is done about one group. Answers say what, as the name of their only member."""

    action: GroupAction

    async def resource(self, **kwargs: str) -> Group:
        return Group(kwargs["group_name"])

    async def tell(self, group: str) -> None:
        """Answer with what is under way, or was last. Raises NotFound for an unknown group."""
        found = await latest_view(self.service, group, self.action)
        if found is None:
            await find_group(self.service, group)
        self.answer({self.action.value: found})

    async def begin(self, group_name: str, reason: str, minutes: int = 0) -> None:
        """Begin, and answer. Raises NotFound, Conflict."""
        group = await find_group(self.service, group_name)
        found = await self.service.group_operations.begin(
            self.action,
            group_name,
            group.users,
            requested_by=self.caller.name,
            reason=reason,
            minutes=minutes,
        )
        view = await group_operation_view(self.service, found)
        self.answer({self.action.value: view}, status=202)

    async def cancel(self, group_name: str) -> None:
        """Begin nobody else, and answer; what had begun goes on to its end. Raises Conflict."""
        self.empty_body()
        found = await self.service.group_operations.cancel(
            self.action, group_name, self.caller.name
        )
        self.answer({self.action.value: await group_operation_view(self.service, found)})


class GroupResetHandler(GroupHandler):
    action = GroupAction.RESET

    @requires(ENVIRONMENT_RESET)
    async def get(self, group_name: str) -> None:
        await self.tell(group_name)

    @requires(ENVIRONMENT_RESET)
    async def post(self, group_name: str) -> None:
        await self.begin(group_name, self.body({"reason": reason_text}, {})["reason"])


class GroupResetCancelHandler(GroupHandler):
    action = GroupAction.RESET

    @requires(ENVIRONMENT_RESET)
    async def post(self, group_name: str) -> None:
        await self.cancel(group_name)


class GroupStartHandler(GroupHandler):
    """Each with the options that their server had last."""

    action = GroupAction.START

    @requires(SERVERS_MANAGE)
    async def get(self, group_name: str) -> None:
        await self.tell(group_name)

    @requires(SERVERS_MANAGE)
    async def post(self, group_name: str) -> None:
        await self.begin(group_name, self.body({"reason": reason_text}, {})["reason"])


class GroupStartCancelHandler(GroupHandler):
    action = GroupAction.START

    @requires(SERVERS_MANAGE)
    async def post(self, group_name: str) -> None:
        await self.cancel(group_name)


class GroupStopHandler(GroupHandler):
    """Who has a server is told at once, and it is stopped some minutes later."""

    action = GroupAction.STOP

    @requires(SERVERS_MANAGE)
    async def get(self, group_name: str) -> None:
        await self.tell(group_name)

    @requires(SERVERS_MANAGE)
    async def post(self, group_name: str) -> None:
        body = self.body({"reason": reason_text}, {"minutes": whole(0, MOST_STOP_MINUTES)})
        await self.begin(group_name, body["reason"], body.get("minutes", STOP_MINUTES))


class GroupStopCancelHandler(GroupHandler):
    action = GroupAction.STOP

    @requires(SERVERS_MANAGE)
    async def post(self, group_name: str) -> None:
        await self.cancel(group_name)


GROUP = r"api/v1/groups/(?P<group_name>[^/]+)"

ROUTES: list[tuple[str, type[ApiHandler]]] = [
    (r"api/v1/groups", GroupsHandler),
    (GROUP + r"/reset", GroupResetHandler),
    (GROUP + r"/reset/cancel", GroupResetCancelHandler),
    (GROUP + r"/start", GroupStartHandler),
    (GROUP + r"/start/cancel", GroupStartCancelHandler),
    (GROUP + r"/stop", GroupStopHandler),
    (GROUP + r"/stop/cancel", GroupStopCancelHandler),
]
