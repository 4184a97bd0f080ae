"""The page about a code of GPU doctor: what it means.

Guarantees: it is for everybody who may come here at all.
"""

from __future__ import annotations

import asyncio

# the same text as in JupyterLab and in a terminal; this module needs nothing but Python
from server_ext.doctor import pages as findings

from ..errors import NotFound
from ..i18n import _
from .auth import requires
from .finding_page import title_of, to_html
from .page_base import PageHandler


class FindingPage(PageHandler):
    """What a code means, why it happens, and how to mend it."""

    @requires(None)
    async def get(self, code: str) -> None:
        section = await asyncio.to_thread(findings.page, code)
        if section is None:
            raise NotFound(_("There is no page for {code}.").format(code=code))
        self.show("finding.html", title=title_of(section), body=to_html(section))


ROUTES: list[tuple[str, type[PageHandler]]] = [
    (r"findings/(?P<code>GC[0-9]{3})", FindingPage),
]
