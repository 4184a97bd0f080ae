"""REST about DDP: a server tells how a run of its user does, for the class and for metrics.

Guarantees: words of a closed list and small numbers are kept, nothing that a user wrote; see
ddp_runs.py and ddp_tellings.py.
"""

from __future__ import annotations

import asyncio
import re

from ..ddp_runs import ENDINGS, MOST_RANKS, RUN, DdpRun, RunState
from ..errors import BadRequest
from ..i18n import _
from ..scopes import ENVIRONMENT_EXAMINE
from . import counters
from .api_base import ApiHandler, boolean, whole
from .api_lease import LeaseHandler
from .auth import requires
from .verdict_views import of_form

STATE = re.compile("|".join(RunState), re.ASCII)


class RunHandler(LeaseHandler):
    """What a running server says of a run."""

    @requires(ENVIRONMENT_EXAMINE)
    async def post(self, user_name: str, server_name: str = "") -> None:
        given = self.body(
            {"run": of_form(RUN), "state": of_form(STATE), "ranks": whole(1, MOST_RANKS)},
            {"rank": whole(0, MOST_RANKS - 1), "hangs": boolean},
        )
        if given.get("hangs") and given["state"] in ENDINGS:
            raise BadRequest(_("A run that is over does not hang."))
        lease = await self.lease(user_name, server_name)
        told = DdpRun(
            user_name,
            server_name,
            given["run"],
            RunState(given["state"]),
            given["ranks"],
            self.service.now(),
            given.get("rank"),
            given.get("hangs", False),
            lease.id,
        )
        self.answer({"kept": await self._keep(told)})

    async def _keep(self, told: DdpRun) -> bool:
        server = (told.user, told.server)
        tellings = self.service.ddp_tellings
        if not tellings.count(server, told.run, ended=not told.alive):
            return False
        try:
            kept = await asyncio.to_thread(self.service.ledger.keep_ddp_run, told)
        except BaseException:  # one that is cancelled, too: it comes again
            tellings.take_back(server, told.run)
            raise
        if kept and not told.alive:
            counters.DDP_RUNS.labels(told.state.value).inc()
        return kept


def routes(server: str, named_server: str) -> list[tuple[str, type[ApiHandler]]]:
    """Below the addresses of a default and of a named server."""
    return [(base + r"/ddp/runs", RunHandler) for base in (server, named_server)]
