"""REST about DDP: a server tells how a run of its user ended, for metrics.

Guarantees: one word of a closed list counts, nothing that a user wrote; see ddp_endings.py.
"""

from __future__ import annotations

from ..scopes import ENVIRONMENT_EXAMINE
from .api_base import ApiHandler
from .api_lease import LeaseHandler
from .auth import requires
from .ddp_endings import ENDING, RUN
from .verdict_views import of_form


class EndedHandler(LeaseHandler):
    """What a running server says of a run."""

    @requires(ENVIRONMENT_EXAMINE)
    async def post(self, user_name: str, server_name: str = "") -> None:
        given = self.body({"run": of_form(RUN), "ending": of_form(ENDING)}, {})
        await self.lease(user_name, server_name)
        endings = self.service.ddp_endings
        counted = endings.count((user_name, server_name), given["run"], given["ending"])
        self.answer({"counted": counted})


def routes(server: str, named_server: str) -> list[tuple[str, type[ApiHandler]]]:
    """Below the addresses of a default and of a named server."""
    return [(base + r"/ddp/ended", EndedHandler) for base in (server, named_server)]
