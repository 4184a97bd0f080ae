"""The page about REST: every operation and form of the OpenAPI document, and kinds of problems.

Guarantees: it is for everybody who may come here at all; each kind of problem has its place there,
to which `type` leads.
"""

from __future__ import annotations

import asyncio
from functools import lru_cache

from ..i18n import _
from .api_document import document
from .api_reference import Reference, reference
from .auth import requires
from .page_base import PageHandler
from .problems import KINDS, PAGE


@lru_cache(maxsize=2)
def _reference(prefix: str) -> Reference:
    return reference(document(prefix))


class ApiPage(PageHandler):
    @requires(None)
    async def get(self) -> None:
        kinds = [(kind, _(title)) for kind, title in KINDS.items()]
        found = await asyncio.to_thread(_reference, self.service.prefix)
        self.show("api.html", reference=found, kinds=kinds)


ROUTES: list[tuple[str, type[PageHandler]]] = [(PAGE, ApiPage)]
