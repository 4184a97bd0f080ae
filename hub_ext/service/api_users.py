"""REST about users: who there is, and one of them with environments, quota, disk and use.

Guarantees: whoever may see everyone's servers sees all users that gpucamp knows; who teaches a
class those of that class, with those who never started a server; everybody else themselves. A user
whom the caller may not see is 404, as one that does not exist.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection

from ..errors import NotFound
from ..i18n import _
from ..scopes import ENVIRONMENT_READ
from .api_base import ApiHandler
from .api_lists import ListHandler, words
from .auth import Group, Resource, requires
from .user_views import users_view, whole_user_view

MOST_DAYS = 92
DAYS = 7


class UsersHandler(ListHandler):
    filters = {"group": words}
    most = 100  # each row has a year's use added up

    async def authorize(self, scope: str, resource: Resource | Group | None) -> None:
        """Nothing beyond the scope in some form: it says whom the list may name."""

    @requires(ENVIRONMENT_READ)
    async def get(self) -> None:
        wanted = self.wanted()
        after = str(wanted.after[0]) if wanted.after else ""
        groups = await self._groups(wanted.given.get("group"))
        if groups is None:
            page = await asyncio.to_thread(
                self.service.ledger.users, after=after, limit=wanted.limit + 1
            )
        else:
            page = tuple(sorted(name for name in groups if name > after)[: wanted.limit + 1])
        more = len(page) > wanted.limit
        page = page[: wanted.limit]
        rows = await users_view(self.service, page, groups or {})
        self.answer_page("users", rows, (page[-1],) if more else None)

    async def _groups(self, only: str | None) -> dict[str, Collection[str]] | None:
        """Whom the list may name, with their groups; None: all that gpucamp knows.

        Raises HubUnavailable, HubRefused.
        """
        reach = self.caller.reach(ENVIRONMENT_READ)
        if reach.all and only is None:
            return None
        members: dict[str, set[str]] = {}
        if only is not None or reach.groups:
            for group in await self.service.hub.groups():
                for name in group.users:
                    members.setdefault(name, set()).add(group.name)
        named = {user: members.get(user, set()) for user in {*members, *reach.users}}
        return {
            user: sorted(groups)
            for user, groups in named.items()
            if (reach.all or user in reach.users or not reach.groups.isdisjoint(groups))
            and (only is None or only in groups)
        }


class UserHandler(ApiHandler):
    query = frozenset({"days"})

    async def authorize(self, scope: str, resource: Resource | Group | None) -> None:
        """Raises NotFound for whom the scope is not held as a whole."""
        user = resource.user if isinstance(resource, Resource) else ""
        if not await self.allows_for_user(scope, user):
            raise NotFound(_("There is no such user."))

    @requires(ENVIRONMENT_READ)
    async def get(self, user_name: str) -> None:
        days = self.whole_argument("days", DAYS, 1, MOST_DAYS)
        self.answer({"user": await whole_user_view(self.service, user_name, days)})


ROUTES: list[tuple[str, type[ApiHandler]]] = [
    (r"api/v1/users", UsersHandler),
    (r"api/v1/users/(?P<user_name>[^/]+)", UserHandler),
]
