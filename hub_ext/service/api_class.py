"""REST for whoever teaches: the class as the live grid shows it.

Guarantees: a filter that is not known or out of bounds is refused. Its pages have numbers, and no
cursors: who comes first changes with every moment.
"""

from __future__ import annotations

from ..scopes import ENVIRONMENT_READ
from .api_base import MOST_ROWS, SOME_ROWS, ApiHandler
from .api_lists import one_of, words
from .auth import Group, Resource, requires
from .class_cards import STATES
from .class_view import HELP, Wanted, class_view

LAST_PAGE = 1_000_000
_STATE = one_of(*STATES, HELP)


class ClassHandler(ApiHandler):
    """All whom the caller may see, or some of them; those in need first."""

    query = frozenset({"group", "state", "search", "page", "limit"})

    async def authorize(self, scope: str, resource: Resource | Group | None) -> None:
        """Nothing beyond the scope in some form: each server is asked for by itself."""

    @requires(ENVIRONMENT_READ)
    async def get(self) -> None:
        state = self.get_query_argument("state", None)
        wanted = Wanted(
            self.get_query_argument("group", None),
            _STATE("state", state) if state is not None else "",
            words("search", self.get_query_argument("search", "")),
            self.whole_argument("page", 1, 1, LAST_PAGE),
            self.whole_argument("limit", SOME_ROWS, 1, MOST_ROWS),
        )
        self.answer(await class_view(self.service, self.caller, wanted))


ROUTES: list[tuple[str, type[ApiHandler]]] = [(r"api/v1/class", ClassHandler)]
