"""REST about GPU doctor: the last verdict about each server, and examinations from outside.

Guarantees: a server tells its own verdict only; who teaches a class sees the servers of that class;
what a verdict has is of a fixed form, see verdicts.py.
"""

from __future__ import annotations

import asyncio

from ..models import LeaseState
from ..scopes import ENVIRONMENT_EXAMINE, ENVIRONMENT_READ
from .api_base import ApiHandler, whole
from .api_lease import LeaseHandler
from .api_lists import ListHandler, one_of, sorted_page, words
from .auth import Group, Resource, requires
from .examinations import Examination
from .lease_views import Json, iso
from .verdict_views import (
    KERNEL,
    LEASE,
    MOST_CHECKS,
    VERSION,
    duration,
    found_codes,
    moment,
    of_form,
    servers_view,
    urgency,
    verdict_of,
    verdict_view,
)
from .views import server_view
from .wording_doctor import trouble_text


class ServersHandler(ListHandler):
    """All servers that hold a lease, as far as the caller may see them."""

    filters = {
        "user": words,
        "group": words,
        "state": one_of(*(each.value for each in LeaseState if each is not LeaseState.ENDED)),
    }

    async def authorize(self, scope: str, resource: Resource | Group | None) -> None:
        """Nothing beyond the scope in some form: each server is asked for by itself."""

    @requires(ENVIRONMENT_READ)
    async def get(self) -> None:
        caller, wanted = self.caller, self.wanted()
        rows = await servers_view(
            self.service,
            lambda lease: (
                wanted.admits(user=lease.user, group=lease.groups, state=lease.state.value)
                and caller.may(ENVIRONMENT_READ, Resource(lease.user, lease.server), lease.groups)
            ),
        )
        self.answer_page("servers", *sorted_page(rows, urgency, wanted))


class VerdictHandler(LeaseHandler):
    """What a running server says of itself after an examination."""

    @requires(ENVIRONMENT_EXAMINE)
    async def post(self, user_name: str, server_name: str = "") -> None:
        given = self.body(
            {"at": moment, "findings": found_codes},
            {
                "kernel": of_form(KERNEL),
                "seconds": duration,
                "checks_passed": whole(0, MOST_CHECKS),
                "checks_unexamined": whole(0, MOST_CHECKS),
                "version": of_form(VERSION),
                "lease": of_form(LEASE),
            },
        )
        await self.lease(user_name, server_name)  # so that there is one row for a server at most
        found = verdict_of(user_name, server_name, given, self.service.now())
        kept = await asyncio.to_thread(self.service.ledger.keep_verdict, found)
        self.answer({"kept": kept})


class DoctorHandler(ApiHandler):
    """The last verdict, and the last examination from outside with its report."""

    @requires(ENVIRONMENT_EXAMINE)
    async def get(self, user_name: str, server_name: str = "") -> None:
        key, ledger = (user_name, server_name), self.service.ledger
        verdict, lease = await asyncio.to_thread(
            lambda: (ledger.verdict(*key), ledger.lease_of(*key))
        )
        examination = self.service.examinations.of(*key)
        if verdict is None and lease is None and examination is None:
            await server_view(self.service, *key)  # NotFound for a server that never was
        self.answer(
            {
                "verdict": verdict_view(verdict, lease, self.service.prefix),
                "examination": examination_view(examination),
            }
        )


class ExamineHandler(LeaseHandler):
    """Begins an examination in the server's container, or joins the one under way."""

    @requires(ENVIRONMENT_EXAMINE)
    async def post(self, user_name: str, server_name: str = "") -> None:
        given = self.body({}, {"kernel": of_form(KERNEL)})
        await self.lease(user_name, server_name)
        begun = await self.service.examinations.begin(
            user_name,
            server_name,
            by=self.caller.name,
            kernel=given.get("kernel", ""),
            language=self.language,
        )
        self.answer({"examination": examination_view(begun)}, status=202)


class CancelHandler(ApiHandler):
    """Ends it; to ask twice does no harm."""

    @requires(ENVIRONMENT_EXAMINE)
    async def post(self, user_name: str, server_name: str = "") -> None:
        self.empty_body()
        found = await self.service.examinations.cancel(user_name, server_name)
        if found is None:
            await server_view(self.service, user_name, server_name)  # NotFound, as above
        self.answer({"examination": examination_view(found)})


def examination_view(found: Examination | None) -> Json | None:
    """An examination, with its report once there is one; texts in the reader's language."""
    if found is None:
        return None
    return {
        "id": found.id,
        "state": found.state.value,
        "by": found.by,
        "requested_at": found.requested_at.isoformat(),
        "ended_at": iso(found.ended_at),
        "error_code": found.trouble.value if found.trouble is not None else None,
        "error": trouble_text(found.trouble, found.detail) if found.trouble is not None else None,
        "report": found.report,
    }


def routes(server: str, named_server: str) -> list[tuple[str, type[ApiHandler]]]:
    """The list, and the routes below the addresses of a default and of a named server."""
    below: list[tuple[str, type[ApiHandler]]] = [
        (r"/doctor", DoctorHandler),
        (r"/doctor/examine", ExamineHandler),
        (r"/doctor/cancel", CancelHandler),
        (r"/doctor/verdict", VerdictHandler),
    ]
    return [
        (r"api/v1/servers", ServersHandler),
        *((base + path, handler) for base in (server, named_server) for path, handler in below),
    ]
