"""The page of whoever teaches: the class as a live grid or table, and the screen of the room.

Guarantees: only servers that the visitor may see; the screen of the room, which everybody there
reads, names nobody but who waits in the line and who raised a hand. What the page shows is in its
address, so that it can be kept and sent; a part of it that cannot be is as if it were not there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from urllib.parse import urlencode

from ..audit_actions import Action
from ..scopes import ENVIRONMENT_READ, LEASES_MANAGE
from .auth import Group, Resource, requires
from .class_cards import STATES
from .class_view import CALLS, HELP, Wanted, class_view
from .lease_views import Json
from .page_base import Live, PageHandler
from .pages_admin import notice_minutes

CARDS, TABLE = "cards", "table"
ON_A_PAGE = {CARDS: 60, TABLE: 100}
LONGEST_SEARCH = 100
# What devices do is no event. Whoever is stuck is seen at once.
LIVE = Live(poll=20, gap=20, urgent=(Action.HAND_RAISE, Action.HAND_LOWER, Action.START_FAIL))

SOON = 3  # seconds, while something goes on that the visitor asked for


class ClassPage(PageHandler):
    """All whom the visitor may see, or some: ?group=, state=, search=, page=; view=table; screen=1:
    for the room.
    """

    async def authorize(self, scope: str, resource: Resource | Group | None) -> None:
        """Nothing beyond the scope in some form: each server is asked for by itself."""

    @requires(ENVIRONMENT_READ)
    async def get(self) -> None:
        group = self.get_query_argument("group", "") or None
        if self.get_query_argument("screen", "") == "1":
            view = await class_view(self.service, self.caller, Wanted(group, CALLS))
            self.show("class_screen.html", view=view, live=LIVE)
            return
        shape = TABLE if self.get_query_argument("view", "") == TABLE else CARDS
        wanted = self._wanted(group, ON_A_PAGE[shape])
        view = await class_view(self.service, self.caller, wanted)
        self.show(
            "class.html",
            view=view,
            wanted=wanted,
            shape=shape,
            address=self._addresses(wanted, shape),
            base_url=self.service.hub_base_url,
            manages=self.caller.holds(LEASES_MANAGE),
            notice_minutes=await notice_minutes(self.service),
            live=LIVE if not self._waits_for(view) else replace(LIVE, poll=SOON),
        )

    def _waits_for(self, view: Json) -> bool:
        """Whether what the visitor asked for is under way on one of the cards shown."""
        name = self.caller.name
        return any(
            (each["state"] == "resetting" and (each["operation"] or {}).get("requested_by") == name)
            or (
                (each["examination"] or {}).get("by") == name
                and each["examination"]["ended_at"] is None
            )
            for each in view["servers"]
        )

    def _wanted(self, group: str | None, limit: int) -> Wanted:
        state = self.get_query_argument("state", "")
        page = self.get_query_argument("page", "")[:6]
        return Wanted(
            group,
            state if state in (*STATES, HELP) else "",
            self.get_query_argument("search", "")[:LONGEST_SEARCH],
            max(1, int(page)) if page.isascii() and page.isdigit() else 1,
            limit,
        )

    def _addresses(self, wanted: Wanted, shape: str) -> Callable[..., str]:
        """The address of this page with some of it changed."""
        present = {
            "group": wanted.group,
            "state": wanted.state,
            "search": wanted.search,
            "view": shape if shape != CARDS else "",
        }

        def address(**changes: str | int) -> str:
            query = {name: value for name, value in {**present, **changes}.items() if value}
            return f"{self.service.prefix}class" + (f"?{urlencode(query)}" if query else "")

        return address


class ServersPage(PageHandler):
    """Where the table of servers was."""

    async def authorize(self, scope: str, resource: Resource | Group | None) -> None:
        """As the page that it leads to."""

    @requires(ENVIRONMENT_READ)
    async def get(self) -> None:
        self.redirect(f"{self.service.prefix}class?view={TABLE}")


ROUTES: list[tuple[str, type[PageHandler]]] = [(r"class", ClassPage), (r"servers", ServersPage)]
