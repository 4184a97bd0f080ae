"""Pages about GPU doctor: how all servers are, and what a code means.

Guarantees: whoever teaches a class sees the servers of that class; the page of a code is for
everybody who may come here at all.
"""

from __future__ import annotations

import asyncio

# the same text as in JupyterLab and in a terminal; this module needs nothing but Python
from server_ext.doctor import pages as findings

from ..errors import NotFound
from ..i18n import _
from ..models import Lease
from ..scopes import ENVIRONMENT_READ, LEASES_MANAGE
from .auth import Group, Resource, requires
from .finding_page import title_of, to_html
from .page_base import PageHandler
from .pages_admin import notice_minutes
from .verdict_views import servers_view


class ServersPage(PageHandler):
    """Servers that hold a lease, those in need first."""

    async def authorize(self, scope: str, resource: Resource | Group | None) -> None:
        """Nothing beyond the scope in some form: each server is asked for by itself."""

    @requires(ENVIRONMENT_READ)
    async def get(self) -> None:
        caller = self.caller
        managed: set[str] = set()

        def wanted(lease: Lease) -> bool:
            resource = Resource(lease.user, lease.server)
            # a lease without devices has no end, and nothing that others could have
            if lease.device_uuids and caller.may(LEASES_MANAGE, resource, lease.groups):
                managed.add(lease.id)
            return caller.may(ENVIRONMENT_READ, resource, lease.groups)

        servers = await servers_view(self.service, wanted)
        self.show(
            "servers.html",
            servers=servers,
            managed=managed,
            manages=caller.holds(LEASES_MANAGE),
            notice_minutes=await notice_minutes(self.service),
        )


class FindingPage(PageHandler):
    """What a code means, why it happens, and how to mend it."""

    @requires(None)
    async def get(self, code: str) -> None:
        section = await asyncio.to_thread(findings.page, code)
        if section is None:
            raise NotFound(_("There is no page for {code}.").format(code=code))
        self.show("finding.html", title=title_of(section), body=to_html(section))


ROUTES: list[tuple[str, type[PageHandler]]] = [
    (r"servers", ServersPage),
    (r"findings/(?P<code>GC[0-9]{3})", FindingPage),
]
